"""The bus over real pseudo-terminals, against a device in C: direct link, serial adapter, the benches' short forms."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from array import array
from pathlib import Path
from random import Random

import pytest

from lutlab_board_agent.adapters.serial_port import TtyPorts
from lutlab_bus import BusLink, DesignBusError, LinkLost, LinkTimeout, Modify, Poll, Read, Status, Write
from lutlab_bus.direct import DirectLink

BENCH = Path(__file__).parents[2] / "benchmarks" / "bus"
WORDS = array("I", [(i * 2654435761) & 0xFFFFFFFF for i in range(20_000)])

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="the fake device needs gcc")


@pytest.fixture
def fake_device():
    spec = importlib.util.spec_from_file_location("bus_bench_device", BENCH / "device.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    devices = []

    def make(**line):
        devices.append(module.FakeDevice("lutlab", **line))
        return devices[-1]

    yield make
    for device in devices:
        device.close()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_the_device_of_a_pinned_host_has_another_core():
    """Once the host was pinned first, and its children inherited that: all that was measured shared one core."""
    program = "import os, device; device.pin_host(); print(os.sched_getaffinity(0) & device.FakeDevice('echo').cores)"
    shared = subprocess.run([sys.executable, "-c", program], cwd=BENCH, check=True, stdout=subprocess.PIPE, timeout=60)
    assert shared.stdout == b"set()\n"


def undisturbed(use):
    """Use a link on which nothing is ever repeated, but for a machine that stops for longer than a link waits."""
    for _ in range(5):
        retries = use()
        if not retries:
            return
    raise AssertionError(f"{retries} requests were repeated on a good line, also the fifth time")


def test_direct_link(fake_device):
    undisturbed(lambda: direct_link(fake_device().path))


def direct_link(path):
    with DirectLink.open(path) as link:
        link.write_words(100, WORDS)
        assert link.read_words(100, len(WORDS)) == WORDS
        assert link.read_word(100) == WORDS[0]
        addresses = array("I", [100 + (i * 7919) % 20_000 for i in range(1000)])
        assert link.read_each(addresses).words == array("I", [WORDS[a - 100] for a in addresses])
        assert link.write_each(addresses, addresses).ok and link.read_each(addresses).words == addresses
        modified, polled = link.execute([Modify(5, 0xF, 0xA), Poll(5, 0xF, 0xB, 100)])
        assert list(modified.words) == [0xC0DE0005] and polled.status is Status.POLL_TIMEOUT
        with pytest.raises(DesignBusError):
            link.read_word(1 << 17)
        assert link.read_word(5) == 0xC0DE000A
        return link.counters.retries


def test_direct_link_on_a_slow_line_and_a_mute_one(fake_device):
    with DirectLink.open(fake_device(baud=115_200).path) as link:
        assert [link.read_word(a) for a in range(20)] == [0xC0DE0000 + a for a in range(20)]
        assert link.read_words(0, 500) == array("I", range(0xC0DE0000, 0xC0DE0000 + 500))
        link.counters.retries = 0
        with pytest.raises(LinkTimeout):
            link.read_words(0, 20_000, timeout_s=0.3)  # 7 s worth of line
        assert link.read_word(3, timeout_s=20) == 0xC0DE0003


@pytest.mark.parametrize(
    "call",
    [
        lambda link: link.read_word(3),
        lambda link: link.read_word(3000),
        lambda link: link.read_words(0, 10),
        lambda link: link.write_words(0, WORDS),
        lambda link: link.read_each(range(500)),
        lambda link: link.hello(),
    ],
)
def test_a_board_that_is_unplugged_is_told_by_every_call(fake_device, call):
    device = fake_device()
    with DirectLink.open(device.path) as link:
        link.read_word(3)
        device._process.kill()
        device._process.wait()
        with pytest.raises(LinkLost, match="serial port"):
            call(link)


@pytest.mark.parametrize(
    "call",
    [
        lambda link, n: [link.read_word(n)],
        lambda link, n: [link.read_word(1000 + n) - 1000],
        lambda link, n: [word - i for i, word in enumerate(link.read_words(n, 30))],
        lambda link, n: [word - i for i, word in enumerate(link.read_each(range(n, n + 30)).words)],
    ],
    ids=["brief", "ordinary", "block", "vector"],
)
@pytest.mark.parametrize("stopped", ["read", "readv", "write"])
def test_a_call_that_is_interrupted_leaves_no_reply_to_the_next_one(fake_device, monkeypatch, call, stopped):
    """By Ctrl-C, or by a signal handler that raises, right behind the system call of this name."""
    with DirectLink.open(fake_device().path) as link:
        for n in range(20):
            assert set(call(link, n)) == {0xC0DE0000 + n}
            real, done = getattr(os, stopped), []

            def interrupted(*arguments, real=real, done=done):
                real(*arguments)
                if not done:
                    done.append(True)
                    raise KeyboardInterrupt

            with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
                patch.setattr(os, stopped, interrupted)
                call(link, 50)
            assert set(call(link, 60)) == {0xC0DE0000 + 60}


def test_calls_that_are_interrupted_at_any_moment(fake_device):
    """A timer's handler raises, 300 times; every call that ends has the right words, and writes are never half old."""
    rng, interruptions, ended = Random(1), 0, 0

    class Interrupted(Exception):
        pass

    def interrupt(*_):
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with DirectLink.open(fake_device().path) as link:
            while interruptions < 300:
                at, count, written = rng.randrange(100, 20_000), rng.choice((1, 2, 300, 3000)), rng.getrandbits(32)
                try:
                    signal.setitimer(signal.ITIMER_REAL, rng.uniform(5e-5, 2e-3))
                    for _ in range(20):
                        assert link.read_word(at % 100) == 0xC0DE0000 + at % 100
                        assert link.read_word(at) & 0xFFFF in (at, written & 0xFFFF)
                        link.write_words(at, array("I", [written]) * count)
                        assert link.read_words(at, count) == array("I", [written]) * count
                        assert set(link.read_each(range(at, at + count)).words) == {written}
                        link.write_words(at, array("I", range(0xC0DE0000 + at, 0xC0DE0000 + at + count)))
                        ended += 1
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except Interrupted:
                    interruptions += 1
                    link.write_words(at, array("I", range(0xC0DE0000 + at, 0xC0DE0000 + at + count)))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert ended > 100, "most calls end"


def test_a_device_that_stops_reading_in_a_long_write(fake_device):
    """The write ends at its deadline although the tty takes nothing; the line is in step when the device goes on."""
    device = fake_device()
    with DirectLink.open(device.path) as link:
        for _ in range(20):
            link.write_words(0, WORDS)
        device._process.send_signal(signal.SIGSTOP)
        try:
            start_s = time.monotonic()
            with pytest.raises(LinkTimeout):
                link.write_words(0, WORDS, timeout_s=0.3)
            assert time.monotonic() - start_s < 3
        finally:
            device._process.send_signal(signal.SIGCONT)
        link.write_words(0, WORDS, timeout_s=20)
        assert link.read_words(0, len(WORDS)) == WORDS


def test_long_reads_on_lines_that_bring_slivers_and_packets(fake_device):
    for latency_us in (0, 1000):
        with DirectLink.open(fake_device(baud=3_000_000, latency_us=latency_us).path) as link:
            link.write_words(0, WORDS)
            start_s = time.monotonic()
            assert link.read_words(0, len(WORDS)) == WORDS
            assert time.monotonic() - start_s < 3  # 0.27 s on the line
            assert link.counters.crc_failures == 0


async def test_the_shipped_serial_adapter(fake_device):
    line = await TtyPorts().open(fake_device().path, 115_200, lambda: None)
    link = await BusLink.open(line)
    results = await link.execute([Write(0, WORDS), Read(0, len(WORDS))], 20)
    assert results[1].words == WORDS
    words = await asyncio.gather(*(link.read_word(a, 5) for a in range(500)))
    assert words == list(WORDS[:500])
    assert link.counters.frames < 100
    line.close()


def run(script, *options):
    done = subprocess.run(
        [sys.executable, str(BENCH / script), *options], capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_damaged_lines_short_form():
    assert "nothing wrong" in run("faults.py", "--words", "300000", "--time-limit-s", "15")


def test_malformed_frames_short_form():
    assert "30,000 malformed frames" in run("malformed.py", "--frames", "30000")


def test_a_word_in_pieces_whatever_they_are(fake_device):
    """A line that brings each byte for itself; one word read often enough to use every sequence number twice."""
    undisturbed(lambda: words_in_pieces(fake_device(baud=1_000_000).path))


def words_in_pieces(path):
    with DirectLink.open(path) as link:
        for _ in range(150):
            assert link.read_word(7) == 0xC0DE0007
        assert link.counters.crc_failures == 0
        retries = link.counters.retries
        link.write_words(7, [1])
        assert [link.read_word(a) for a in (7, 8, 7)] == [1, 0xC0DE0008, 1]
        return retries
