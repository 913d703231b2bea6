"""Lab files: what is accepted, and that complaints name the key and the line."""

from __future__ import annotations

import pytest

from lutlab_board_agent.domain.errors import LabFileInvalid
from lutlab_board_agent.domain.lab import BOARDS_MAX, LoaderArgs, XvcClient, parse_lab

GOOD = """\
[[board]]
key = "bench-0"
profile = "lfe5u-25f"
labels = ["fast", "fan"]
[board.cable]
kind = "xvc-client"
host = "127.0.0.1"
port = 3721
[board.serial]
path = "/dev/ttyUSB0"

[[board]]
key = "bench-1"
profile = "lfe5u-25f"
[board.cable]
kind = "openfpgaloader"
args = ["-b", "ulx3s", "--ftdi-serial", "D00084"]
[board.serial]
path = "/dev/ttyUSB1"
"""


def test_bridges_are_off_unless_given_a_port() -> None:
    assert [board.bridge_port for board in parse_lab(GOOD, name="lab.toml")] == [None, None]
    on = GOOD.replace('key = "bench-0"', 'key = "bench-0"\nbridge_port = 1234')
    assert [board.bridge_port for board in parse_lab(on, name="lab.toml")] == [1234, None]
    for text, word in (
        (on.replace("1234", "70000"), "line 3.*70000 is no TCP port"),
        (on.replace('key = "bench-1"', 'key = "bench-1"\nbridge_port = 1234'), "the same bridge_port 1234"),
    ):
        with pytest.raises(LabFileInvalid, match=word):
            parse_lab(text, name="lab.toml")


def test_what_a_file_says_of_a_board_is_held_against_its_profile() -> None:
    said = GOOD.replace('key = "bench-0"', 'key = "bench-0"\nkind = "real"\ndevice = "lfe5u-25f"\nclk_hz = 50_000_000')
    first, second = parse_lab(said, name="lab.toml")
    assert (first.kind, first.clk_hz, second.kind, second.device) == ("real", 50_000_000, None, None)
    for text, word in (
        (said.replace('device = "lfe5u-25f"', 'device = "LFE5U-85F"'), "line 4.*is for LFE5U-25F, not for LFE5U-85F"),
        (said.replace("50_000_000", "25_000_000"), "line 5.*oscillator of 50000000 Hz, not of 25000000"),
        (said.replace('"real"', '"imaginary"'), "line 3.*imaginary"),
        (
            said.replace("[board.serial]", '[board.control]\npath = "/x"\n[board.serial]', 1),
            "real board has no control",
        ),
    ):
        with pytest.raises(LabFileInvalid, match=word):
            parse_lab(text, name="lab.toml")


def test_a_board_model_brings_its_loader_options() -> None:
    def args(profile: str, given: str) -> tuple[str, ...]:
        text = GOOD.replace(
            '"lfe5u-25f"\n[board.cable]\nkind = "openfpgaloader"',
            f'"{profile}"\n[board.cable]\nkind = "openfpgaloader"',
        )
        text = text.replace('args = ["-b", "ulx3s", "--ftdi-serial", "D00084"]', given)
        cable = parse_lab(text, name="lab.toml")[1].cable
        assert isinstance(cable, LoaderArgs)
        return cable.args

    assert args("ulx3s-85f", "") == ("-b", "ulx3s")
    assert args("ulx3s-85f", 'args = ["--ftdi-serial", "D1"]') == ("-b", "ulx3s", "--ftdi-serial", "D1")
    assert args("ecpix5-85f", 'args = ["--board=ecpix5_r03"]') == ("--board=ecpix5_r03",)
    assert args("orangecrab-25f", 'args = ["-c", "ft2232"]') == ("-c", "ft2232")
    with pytest.raises(LabFileInvalid, match="give openFPGALoader 1 to 32 options"):
        args("lfe5u-25f", "")


def test_both_kinds_of_cable() -> None:
    first, second = parse_lab(GOOD, name="lab.toml")
    assert (first.key, first.labels, first.serial.path) == ("bench-0", ("fast", "fan"), "/dev/ttyUSB0")
    assert first.cable == XvcClient(host="127.0.0.1", port=3721)
    assert second.cable == LoaderArgs(args=("-b", "ulx3s", "--ftdi-serial", "D00084"))


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('labels = ["fast", "fan"]', 'lables = ["fast"]', 4, ["unknown field `lables`"]),
        ('"fan"]', '"two fans"]', 4, ["bench-0", "no job can ask for 'two fans'"]),
        ('"fan"]', '"a,b"]', 4, ["no job can ask for 'a,b'"]),
        ('"fan"]', '""]', 4, ["no job can ask for ''"]),
        ('["fast", "fan"]', str([f"l{i}" for i in range(33)]), 4, ["33 labels", "at most 32"]),
        ("port = 3721", "prot = 3721", 8, ["unknown field `prot`"]),
        ("port = 3721", 'port = "3721"', 8, ["Expected `int`, got `str`", "board[0].cable.port"]),
        ("port = 3721", "port = 70000", 8, ["bench-0", "70000 is no TCP port"]),
        ('kind = "xvc-client"', 'kind = "xvc"', 6, ["xvc"]),
        ('host = "127.0.0.1"\n', "", 1, ["missing required field `host`"]),
        ('path = "/dev/ttyUSB1"', 'pth = "/dev/ttyUSB1"', 19, ["unknown field `pth`"]),
        ('path = "/dev/ttyUSB1"', 'path = "ttyUSB1"', 19, ["bench-1", "not an absolute path"]),
        ('key = "bench-1"', 'key = "bench 1"', 13, ["'bench 1' must be 1 to 64 letters"]),
        ('profile = "lfe5u-25f"\n[', 'profile = "ulx3s"\n[', 14, ["no device profile 'ulx3s'", "lfe5u-25f"]),
        ('"--ftdi-serial", "D00084"', '"-f"', 17, ["'-f' does not load a bitstream into SRAM"]),
        ('"--ftdi-serial", "D00084"', '"--dump-flash=x"', 17, ["'--dump-flash=x'"]),
        ('"--ftdi-serial", "D00084"', '"-vf"', 17, ["'-vf' does not load a bitstream into SRAM"]),
        ('"--ftdi-serial", "D00084"', '"--unprotect-flash"', 17, ["'--unprotect-flash'"]),
        ('["-b", "ulx3s", "--ftdi-serial", "D00084"]', "[]", 17, ["1 to 32 options"]),
        ("[board.cable]\nkind", "[board.cabel]\nkind", 1, ["unknown field `cabel`"]),
    ],
)
def test_complaints_name_key_and_line(old: str, new: str, line: int, words: list[str]) -> None:
    text = GOOD.replace(old, new) if GOOD.count(old) == 1 else new.join(GOOD.split(old, 1))
    with pytest.raises(LabFileInvalid) as caught:
        parse_lab(text, name="lab.toml")
    message = str(caught.value)
    assert message.startswith(f"lab.toml, line {line}:"), message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('"bench-1"', '"bench-0"', "same key bench-0"),
        ("ttyUSB1", "ttyUSB0", "same serial.path /dev/ttyUSB0"),
    ],
)
def test_two_boards_share_nothing(old: str, new: str, what: str) -> None:
    with pytest.raises(LabFileInvalid, match=what):
        parse_lab(GOOD.replace(old, new), name="lab.toml")


def test_two_boards_on_one_cable() -> None:
    text = GOOD + GOOD.split("[[board]]")[1].join(["[[board]]", ""]).replace("bench-0", "bench-2").replace(
        "USB0", "USB2"
    )
    with pytest.raises(LabFileInvalid, match="same cable"):
        parse_lab(text, name="lab.toml")


def test_no_boards_and_too_many() -> None:
    with pytest.raises(LabFileInvalid, match="declares 0 boards"):
        parse_lab("", name="lab.toml")
    one = (
        "[[board]]{}[board.cable]\nkind='openfpgaloader'\nargs=['--cable-index','{}']\n[board.serial]\npath='/dev/{}'\n"
    )
    many = "".join(one.format(f"\nkey='b{i}'\nprofile='lfe5u-25f'\n", i, i) for i in range(BOARDS_MAX + 1))
    with pytest.raises(LabFileInvalid, match="declares 65 boards"):
        parse_lab(many, name="lab.toml")


def test_not_toml() -> None:
    with pytest.raises(LabFileInvalid, match=r"lab\.toml is not TOML: .*line 1"):
        parse_lab("[[board]", name="lab.toml")


def test_an_unknown_table_at_the_top() -> None:
    with pytest.raises(LabFileInvalid, match="unknown field `boards`"):
        parse_lab("[[boards]]\nkey = 'x'\n", name="lab.toml")
