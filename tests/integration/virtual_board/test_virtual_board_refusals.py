"""What the board cannot execute it refuses by name, and the programmer learns of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from vb_process import BoardProcess, initial_word
from vb_toolchain import Build

from lutlab_virtual_board.errors import CrcMismatch, IdcodeMismatch, UnsupportedCell
from lutlab_virtual_board.programming import Translator


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("jtag", "JTAGG"),
        ("fast_pad", "IOLOGIC.*MODDRX2"),
        ("reset_product", "MULT18X18D at .* INPUTA register is under the chip-wide reset"),
    ],
)
def test_unsupported_cells_are_refused_by_name_and_place(
    builds: Callable[[str], Build], translator: Translator, name: str, message: str
) -> None:
    with pytest.raises(UnsupportedCell, match=message) as caught:
        translator.translate(builds(name).bit.read_bytes())
    assert "R" in caught.value.place


def test_a_bitstream_for_another_chip_is_refused(builds: Callable[[str], Build], translator: Translator) -> None:
    with pytest.raises(IdcodeMismatch, match="0x81113043"):
        translator.translate(builds("soc85").bit.read_bytes())


@pytest.mark.parametrize("suffix", ["bit", "raw.bit"])
def test_a_damaged_bitstream_is_refused(builds: Callable[[str], Build], translator: Translator, suffix: str) -> None:
    data = bytearray(builds("soc").path(suffix).read_bytes())
    data[len(data) // 2] ^= 0x04
    with pytest.raises(CrcMismatch):
        translator.translate(bytes(data))


def test_the_programmer_fails_and_the_board_stays_silent(
    builds: Callable[[str], Build], board: BoardProcess, tmp_path: Path
) -> None:
    assert board.load(builds("soc").bit).returncode == 0
    damaged = tmp_path / "damaged.bit"
    data = bytearray(builds("soc").bit.read_bytes())
    data[-600] ^= 0x10
    damaged.write_bytes(data)
    done = board.load(damaged)
    assert done.returncode != 0
    assert "CRC ERR" in done.stdout + done.stderr
    refused = board.wait_for("configuration_refused")
    assert refused["code"] == "bitstream_crc_mismatch"
    with board.port() as port:
        assert port.is_silent()
    done = board.load(builds("jtag").bit)
    assert done.returncode != 0
    refused = board.wait_for("configuration_refused")
    assert refused["code"] == "unsupported_cell"
    assert "JTAGG" in str(refused["reason"])
    assert board.load(builds("soc").bit).returncode == 0
    with board.port() as port:
        assert port.read(3) == initial_word(3)


def test_the_programmer_itself_refuses_another_chips_bitstream(
    builds: Callable[[str], Build], board: BoardProcess
) -> None:
    done = board.load(builds("soc85").bit)
    assert done.returncode != 0
    assert "idcode" in done.stdout + done.stderr
