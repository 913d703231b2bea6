"""openFPGALoader's words and the codes they become.

`loader_outputs` has what its runs really said, with the command that was run and what was wrong. Not recorded, because
it takes a cable: permission denied and a busy USB cable; the words here are those of its sources and of libftdi's.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lutlab_board_agent.domain.loader import TAIL_CHARACTERS, LoaderCode, classify, tail

NO_SERVER = "empty\nConnection error\nJTAG init failed with: connection failure\n"
NO_FTDI = "unable to open ftdi device: -3 (device not found)\nJTAG init failed with: unable to open ftdi device\n"
NO_ACCESS = "unable to open ftdi device: -4 (usb_open() failed)\nJTAG init failed with: unable to open ftdi device\n"
BUSY = (
    "unable to open ftdi device: -5 (unable to claim usb device)\nJTAG init failed with: unable to open ftdi device\n"
)
WRONG = """\
empty
Open file: DONE
Parse file: DONE
mismatch between target's idcode and bitstream idcode
\tbitstream has 0x41111043 hardware requires 0x81113043
Error: Failed to program FPGA: std::exception
"""
CRC = """\
Open file: DONE
Parse file: DONE
Enable configuration: DONE
SRAM erase: DONE
Loading: [==================================================] 100.00%
Fail
displayReadReg
\tISC Enabled
\tBSE Error Code
\t\tCRC ERR
Error: Failed to program FPGA: std::exception
"""
NO_LIBRARY = "openFPGALoader: error while loading shared libraries: libusb-1.0.so.0: cannot open shared object file\n"


@pytest.mark.parametrize(
    ("output", "status", "code", "words"),
    [
        (NO_SERVER, 1, LoaderCode.CABLE_UNREACHABLE, "no board answers at the cable"),
        (NO_FTDI, 1, LoaderCode.CABLE_UNREACHABLE, "device not found"),
        ("JTAG init failed with: No cable found\n", 1, LoaderCode.CABLE_UNREACHABLE, "No cable found"),
        ("Error: no device found\n", 1, LoaderCode.CABLE_UNREACHABLE, "no device found"),
        (NO_ACCESS, 1, LoaderCode.CABLE_FORBIDDEN, "udev rule"),
        (BUSY, 1, LoaderCode.CABLE_BUSY, "another program holds the cable"),
        (WRONG, 1, LoaderCode.WRONG_DEVICE, "bitstream has 0x41111043 hardware requires 0x81113043"),
        ("Error: device 4ba00477 not supported\n", 1, LoaderCode.WRONG_DEVICE, "4ba00477"),
        ("LatticeBitParser: no header\nParse file: FAIL\n", 1, LoaderCode.BITSTREAM_INVALID, "no header"),
        (CRC, 1, LoaderCode.PROGRAM_FAILED, "CRC ERR"),
        ("", -11, LoaderCode.PROGRAM_FAILED, "signal 11"),
        ("", 1, LoaderCode.PROGRAM_FAILED, "it said nothing"),
        (NO_LIBRARY, 127, LoaderCode.LOADER_UNUSABLE, "libusb-1.0.so.0"),
        ("Error: cannot find board 'nope'\n", 1, LoaderCode.LOADER_UNUSABLE, "nope"),
        ("error : jtagger not found\n", 1, LoaderCode.LOADER_UNUSABLE, "jtagger"),
    ],
)
def test_codes(output: str, status: int, code: LoaderCode, words: str) -> None:
    found = classify(output, status)
    assert found is not None
    assert found[0] is code
    assert words in found[1]


RECORDED = {
    "damaged": LoaderCode.PROGRAM_FAILED,
    "network_cable_busy": LoaderCode.CABLE_BUSY,
    "no_bitstream": LoaderCode.BITSTREAM_INVALID,
    "no_board_of_that_name": LoaderCode.LOADER_UNUSABLE,
    "no_cmsisdap": LoaderCode.CABLE_UNREACHABLE,
    "no_cmsisdap_support": LoaderCode.LOADER_UNUSABLE,
    "no_dfu": LoaderCode.CABLE_UNREACHABLE,
    "no_ftdi": LoaderCode.CABLE_UNREACHABLE,
    "no_ftdi_debian": LoaderCode.CABLE_UNREACHABLE,
    "no_ftdi_serial": LoaderCode.CABLE_UNREACHABLE,
    "nobody_listens": LoaderCode.CABLE_UNREACHABLE,
    "power_lost": LoaderCode.CABLE_UNREACHABLE,
    "success": None,
    "tdo_stuck_at_0": LoaderCode.CABLE_UNREACHABLE,
    "tdo_stuck_at_1": LoaderCode.CABLE_UNREACHABLE,
    "wrong_idcode": LoaderCode.WRONG_DEVICE,
    "wrong_idcode_debian": LoaderCode.WRONG_DEVICE,
}
FOLDER = Path(__file__).parent / "loader_outputs"


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_runs(name: str) -> None:
    heading, _, output = (FOLDER / f"{name}.txt").read_text().partition("# exit status ")
    assert "openFPGALoader" in heading
    status = re.match(r"(-?\d+)\n", output)
    assert status is not None
    found = classify(output[status.end() :], int(status[1]))
    assert (found and found[0]) == RECORDED[name]


def test_every_recording_is_looked_at() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(RECORDED)


def test_success_whatever_it_said() -> None:
    assert classify(NO_SERVER, 0) is None


def test_the_tail_is_short_plain_and_without_progress() -> None:
    noisy = "\x1b[31mred\x1b[0m\n" + "".join(f"Loading: [{'=' * i:<50}] {2 * i}.00%\r" for i in range(50)) + "\nend\n"
    assert tail(noisy) == "red | end"
    assert len(tail("x" * 10_000)) == TAIL_CHARACTERS


def test_what_a_loader_says_can_be_stored() -> None:
    failure = classify("read 3 bytes: \0\0\x01\nfailed\n", 1)
    assert failure is not None
    assert "\0" not in failure[1]
    assert "failed" in failure[1]
