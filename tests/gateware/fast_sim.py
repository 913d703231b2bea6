"""The bus device as native code, a million cycles a second: CXXRTL and a C++ compiler. For long random runs."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyosys
from amaranth.back import rtlil
from device_sim import PARAMETERS
from pyosys import libyosys

from lutlab_gateware.device import BusDevice

COMPILER = shutil.which("g++") or shutil.which("clang++")
FRAMING_ERROR = 256
"""In the bytes to send."""
REPLY_BYTES_MAX = 1 << 20
TRANSFERS_MAX = 1 << 18
CYCLES_MAX = 4_000_000
_RUNTIME = Path(pyosys.__file__).parent / "share" / "include" / "backends" / "cxxrtl" / "runtime"
_LINE = ("rx_data", "rx_stb", "rx_err", "tx_data", "tx_stb", "tx_ready", "executing")
_BUS = ("cyc", "stb", "we", "adr", "dat_w", "sel", "dat_r", "ack", "err")


class _Transfer(ctypes.Structure):
    _fields_ = (("is_write", ctypes.c_uint32), ("address", ctypes.c_uint32), ("data", ctypes.c_uint32))


def build(folder: Path, **changes: Any) -> Path:
    """Compile a device with the golden vectors' parameters; returns the library."""
    assert COMPILER is not None
    device = BusDevice(**PARAMETERS | changes)
    ports = {name: (getattr(device, name), None) for name in _LINE + _BUS}
    (folder / "device.il").write_text(rtlil.convert(device, name="top", ports=ports, emit_src=False))
    design = libyosys.Design()
    for command in (f"read_rtlil {folder / 'device.il'}", f"write_cxxrtl -g0 -O6 {folder / 'device.cc'}"):
        libyosys.run_pass(f"tee -q {command}", design)
    library = folder / "device.so"
    source = Path(__file__).with_suffix(".cc")
    options = ["-std=c++17", "-O1", "-w", "-shared", "-fPIC", f"-I{_RUNTIME}", f"-I{folder}"]
    subprocess.run([COMPILER, *options, "-o", library, source], check=True, timeout=240)
    return library


class FastDevice:
    """A device that was just configured, and a tempered target (see `device_sim`) behind it."""

    def __init__(self, library: Path, delay: int = 1) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.bench_new.restype = ctypes.c_void_p
        self._library.bench_run.restype = ctypes.c_bool
        self._library.bench_faults.restype = ctypes.c_uint64
        self._bench = ctypes.c_void_p(self._library.bench_new(delay))
        self._out = (ctypes.c_uint8 * REPLY_BYTES_MAX)()
        self._bus = (_Transfer * TRANSFERS_MAX)()

    def close(self) -> None:
        self._library.bench_delete(self._bench)

    def run(
        self, data: bytes | list[int], *, byte_cycles: int = 40, tx_cycles: int = 40
    ) -> tuple[bytes, list[tuple[str, int, int]]]:
        """Send bytes and wait for quiet; returns the bytes that came back and the transfers that started."""
        given = (ctypes.c_uint16 * max(1, len(data)))(*data)
        out_count, bus_count = ctypes.c_uint(REPLY_BYTES_MAX), ctypes.c_uint(TRANSFERS_MAX)
        is_quiet = self._library.bench_run(
            self._bench,
            given,
            len(data),
            byte_cycles,
            tx_cycles,
            ctypes.c_uint64(CYCLES_MAX),
            self._out,
            ctypes.byref(out_count),
            self._bus,
            ctypes.byref(bus_count),
        )
        assert is_quiet, f"not quiet within {CYCLES_MAX} cycles"
        assert out_count.value <= REPLY_BYTES_MAX and bus_count.value <= TRANSFERS_MAX
        assert self._library.bench_faults(self._bench) == 0, "cyc and stb differ"
        transfers = [("w" if t.is_write else "r", t.address, t.data) for t in self._bus[: bus_count.value]]
        return bytes(self._out[: out_count.value]), transfers
