"""What openFPGALoader's words mean: its output and exit status as a stable code and a sentence for a person.

The phrases are those of openFPGALoader 0.10 to 1.1 (messages in its `main.cpp`, `lattice.cpp`, `xvc_client.cpp`,
`ftdipp_mpsse.cpp`, `dfu.cpp`) and of libusb's error names.
"""

from __future__ import annotations

import re
from enum import StrEnum

TAIL_LINES = 6
TAIL_CHARACTERS = 600


class LoaderCode(StrEnum):
    """Why a bitstream could not be loaded."""

    CABLE_UNREACHABLE = "cable_unreachable"
    CABLE_BUSY = "cable_busy"
    CABLE_FORBIDDEN = "cable_forbidden"
    WRONG_DEVICE = "wrong_device"
    BITSTREAM_INVALID = "bitstream_invalid"
    PROGRAM_FAILED = "program_failed"
    LOADER_TIMEOUT = "loader_timeout"
    LOADER_UNUSABLE = "loader_unusable"


_RULES: tuple[tuple[LoaderCode, str, str], ...] = (
    (
        LoaderCode.LOADER_UNUSABLE,
        r"error while loading shared libraries|runs without USB libraries|cannot find board|^error : \S+ not found"
        r"|Error parsing options|not enabled at compile time",
        "openFPGALoader cannot do this here",
    ),
    (
        LoaderCode.WRONG_DEVICE,
        r"mismatch between target's idcode|Unknown device with IDCODE|device \S+ not supported",
        "the device at the cable is not the one the bitstream was built for",
    ),
    (
        LoaderCode.CABLE_FORBIDDEN,
        r"LIBUSB_ERROR_ACCESS|access denied|permission denied|insufficient permissions|unable to open ftdi device: -4 ",
        "the agent may not use the cable; give it access (udev rule, group)",
    ),
    (
        LoaderCode.CABLE_BUSY,
        r"Receive error\s+JTAG init failed with: can't read info"  # a network cable that hangs up at once
        r"|LIBUSB_ERROR_BUSY|resource busy|unable to claim|device or resource|Failed to claim cable"
        r"|unable to open ftdi device: -5 ",
        "another program holds the cable",
    ),
    (
        LoaderCode.CABLE_UNREACHABLE,
        r"Not found\s+DFU init failed"
        r"|Connection error|connection failure|Connection refused|No route to host|can't read info|wrong getinfo"
        r"|Socket creation error|Receive error|Send failed|ll_write fails|connection closed|shut down the connection"
        r"|No cable found|unable to open ftdi device|No USB devices found|device not found|no device found"
        r"|TDO is stuck|JTAG init failed|LIBUSB_ERROR_NO_DEVICE|DFU init failed",
        "no board answers at the cable",
    ),
    (
        LoaderCode.BITSTREAM_INVALID,
        r"LatticeBitParser|Wrong File|[Pp]reamble|Unknown command type|Parse file: *FAIL|incompatible file format"
        r"|Failed to claim FPGA device: stoul",
        "openFPGALoader does not accept the file as a bitstream",
    ),
)
_REFUSED = "the device refused the bitstream"
_DAMAGED = re.compile(r"CRC ERR")
_COMPILED = tuple((code, re.compile(pattern, re.IGNORECASE | re.MULTILINE), what) for code, pattern, what in _RULES)
_PROGRESS = re.compile(r"^Loading: \[[=\s]*\] *[\d.]*%?$")
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def tail(output: str) -> str:
    """The loader's last lines, without colours and progress bars, joined by ` | `."""
    # The ledger's text holds no NUL: a report with one would be refused, and the load wait for its deadline.
    text = _ESCAPES.sub("", output).replace("\r", "\n").replace("\0", "\ufffd")
    lines = (line.strip() for line in text.splitlines())
    kept = [line for line in lines if line and not _PROGRESS.match(line)]
    return " | ".join(kept[-TAIL_LINES:])[-TAIL_CHARACTERS:]


def classify(output: str, exit_status: int) -> tuple[LoaderCode, str] | None:
    """What a finished loader run means.

    Args:
        output: its standard output and error together.
        exit_status: 0 for success, negative for a signal, as subprocess gives it.

    Returns:
        None if the bitstream was loaded, else the code and a sentence with the loader's own last lines.
    """
    if exit_status == 0:
        return None
    words = tail(output) or "(it said nothing)"
    for code, pattern, what in _COMPILED:
        if pattern.search(output):
            return code, f"{what}; openFPGALoader said: {words}"
    ended = f"signal {-exit_status}" if exit_status < 0 else f"exit status {exit_status}"
    what = f"{_REFUSED}: its checksum is wrong, it is damaged" if _DAMAGED.search(output) else f"{_REFUSED} ({ended})"
    return LoaderCode.PROGRAM_FAILED, f"{what}; openFPGALoader said: {words}"
