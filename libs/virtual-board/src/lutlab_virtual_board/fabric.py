"""A design as native code: load it, clock it, move the bytes of its serial line."""

from __future__ import annotations

import _ctypes
import ctypes
import os

import msgspec

from lutlab_virtual_board.errors import CompilerError, DesignRings

Signal = tuple[int, int]
"""Kind (0 an input pin, 1 an output pin, 2 a register) and number of something that has a level."""

BIT_FRACTION = 16
"""Binary places of a bit time in clock cycles."""

BIT_CYCLES_MAX = 1 << 30
_CHUNK_BYTES = 4096


class Fabric:
    """One loaded design. Each object has its own state, even of the same code.

    Args:
        code: a shared object of a generated program.

    Raises:
        CompilerError: the code cannot be loaded.
    """

    def __init__(self, code: bytes) -> None:
        # The loader tells objects apart by path and inode. A memory file that stays open as long as the object is in
        # use has a path of its own, and so the object has a state of its own.
        self._descriptor = os.memfd_create("lutlab-design", os.MFD_CLOEXEC)
        try:
            with open(self._descriptor, "wb", closefd=False) as file:
                file.write(code)
            self._library = ctypes.CDLL(f"/proc/self/fd/{self._descriptor}")
        except OSError as error:
            os.close(self._descriptor)
            raise CompilerError(f"the compiled design cannot be loaded: {error}") from error
        self._declare()
        self._buffer = ctypes.create_string_buffer(_CHUNK_BYTES)
        self.clock_hz: float = self._library.vb_clock_hz()
        """Frequency of the design's clock."""
        self.usercode: int = self._library.vb_usercode()
        """The bitstream's user code."""

    def _declare(self) -> None:
        library = self._library
        library.vb_run.argtypes = [ctypes.c_long]
        library.vb_run.restype = ctypes.c_long
        library.vb_trace.argtypes = [ctypes.c_long, ctypes.c_char_p, ctypes.c_char_p]
        library.vb_trace.restype = None
        library.vb_set_input.argtypes = [ctypes.c_int, ctypes.c_uint]
        library.vb_set_input.restype = None
        library.vb_level.argtypes = [ctypes.c_int, ctypes.c_int]
        library.vb_level.restype = ctypes.c_uint
        library.vb_record.argtypes = [ctypes.c_long, ctypes.POINTER(ctypes.c_int), ctypes.c_int, ctypes.c_char_p]
        library.vb_record.restype = None
        library.vb_await.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_uint, ctypes.c_long]
        library.vb_await.restype = ctypes.c_long
        library.vb_signals.restype = ctypes.c_char_p
        library.vb_set_bit.argtypes = [ctypes.c_ulong]
        library.vb_set_bit.restype = None
        library.vb_push.argtypes = [ctypes.c_char_p, ctypes.c_uint]
        library.vb_push.restype = ctypes.c_uint
        library.vb_pull.argtypes = [ctypes.c_char_p, ctypes.c_uint]
        library.vb_pull.restype = ctypes.c_uint
        library.vb_rings.restype = ctypes.c_ulong
        library.vb_clocks.restype = ctypes.c_char_p
        library.vb_quiet.restype = ctypes.c_int
        library.vb_host_pending.restype = ctypes.c_uint
        library.vb_host_room.restype = ctypes.c_uint
        library.vb_time.restype = ctypes.c_ulong
        library.vb_state.restype = ctypes.c_void_p
        library.vb_state_bytes.restype = ctypes.c_ulong
        library.vb_layout.restype = ctypes.c_char_p
        library.vb_clock_hz.restype = ctypes.c_double
        library.vb_usercode.restype = ctypes.c_uint

    def close(self) -> None:
        """Unload the code. The object must not be used afterwards."""
        if self._library is not None:
            _ctypes.dlclose(self._library._handle)
            self._library = None  # type: ignore[assignment]  # whoever uses it from here on fails
            os.close(self._descriptor)

    def take_over(self, other: Fabric) -> None:
        """Continue where another build of the same design is.

        Raises:
            CompilerError: it is not the same design.
        """
        mine, theirs = self._library, other._library
        if mine.vb_layout() != theirs.vb_layout() or mine.vb_state_bytes() != theirs.vb_state_bytes():
            raise CompilerError("two builds of one design differ in their state")
        ctypes.memmove(mine.vb_state(), theirs.vb_state(), mine.vb_state_bytes())

    # -- serial line ----------------------------------------------------------------------------------------------

    def set_baud(self, baud: int) -> None:
        """Set the host's bit rate; a bit takes `clock_hz / baud` clock cycles, fractions included."""
        cycles = min(max(self.clock_hz / max(baud, 1), 1.0), float(BIT_CYCLES_MAX))
        self._library.vb_set_bit(round(cycles * (1 << BIT_FRACTION)))

    def push(self, data: bytes) -> int:
        """Queue bytes that the host sends; how many there was room for."""
        return int(self._library.vb_push(data, len(data)))

    def pull(self) -> bytes:
        """The bytes that the design has sent since the last call."""
        out = bytearray()
        while count := self._library.vb_pull(self._buffer, _CHUNK_BYTES):
            out += self._buffer.raw[:count]
        return bytes(out)

    @property
    def host_pending(self) -> int:
        """Bytes of the host that are not on the line yet, or not completely."""
        return int(self._library.vb_host_pending())

    @property
    def host_room(self) -> int:
        """Bytes that can be queued now."""
        return int(self._library.vb_host_room())

    # -- time -----------------------------------------------------------------------------------------------------

    def run(self, cycles: int) -> int:
        """Clock the design; less than asked if it gets quiet or has a complete answer.

        Returns:
            Cycles that were run.
        """
        return int(self._library.vb_run(cycles))

    @property
    def quiet(self) -> bool:
        """Whether nothing can change before the host sends something."""
        return bool(self._library.vb_quiet())

    def check(self) -> None:
        """Make sure that the design has not rung so far.

        Raises:
            DesignRings: it has clocked itself on and on in one moment; what it holds means nothing any more.
        """
        rings = int(self._library.vb_rings())
        if rings:
            names = [name for edge, name in enumerate(self._derived_clocks()) if rings >> edge & 1]
            raise DesignRings(", ".join(dict.fromkeys(names)))

    def try_out(self, cycles: int) -> None:
        """Run a design that makes clocks of its own for some cycles; others cannot ring.

        Raises:
            DesignRings: it rings.
        """
        if self._derived_clocks():
            self.run(cycles)
            self.check()

    def _derived_clocks(self) -> list[str]:
        return msgspec.json.decode(self._library.vb_clocks(), type=list[str])

    @property
    def cycles(self) -> int:
        """Clock cycles since configuration."""
        return int(self._library.vb_time()) >> BIT_FRACTION

    # -- signals --------------------------------------------------------------------------------------------------

    def signals(self) -> dict[str, Signal]:
        """What can be looked at: pins by their name in the package, and registers by their place."""
        found: dict[str, Signal] = {}
        for kind, names in enumerate(msgspec.json.decode(self._library.vb_signals(), type=list[list[str]])):
            # A pin that is driven and read shows what it drives.
            found |= {name: (kind, index) for index, name in enumerate(names)}
        return found

    def level(self, signal: Signal) -> int:
        """The level of a signal; of an output just before the latest rising edge of the clock."""
        return int(self._library.vb_level(*signal))

    def drive(self, pin: int, level: int) -> None:
        """Set the level outside an input pin, by its number."""
        self._library.vb_set_input(pin, level)

    def run_until(self, signal: Signal, level: int, cycles: int) -> bool:
        """Run until a signal comes to a level, but only so many cycles; whether it came."""
        return bool(self._library.vb_await(*signal, level, cycles))

    def record(self, signals: list[Signal], cycles: int) -> bytes:
        """Run some cycles and give the levels of signals after each: one byte a signal and cycle."""
        wanted = (ctypes.c_int * (2 * len(signals)))(*(number for signal in signals for number in signal))
        out = ctypes.create_string_buffer(max(1, cycles * len(signals)))
        self._library.vb_record(cycles, wanted, len(signals), out)
        return out.raw[: cycles * len(signals)]

    def trace(self, inputs: bytes, cycles: int, output_count: int) -> bytes:
        """Run with given input levels and record the output levels, for comparison with other simulators.

        Args:
            inputs: one byte an input and cycle, in the order of `Program.inputs`.
            cycles: to run.
            output_count: outputs of the design.

        Returns:
            One byte an output and cycle, as they are just before the rising edge.
        """
        out = ctypes.create_string_buffer(max(1, cycles * output_count))
        self._library.vb_trace(cycles, inputs, out)
        return out.raw[: cycles * output_count]
