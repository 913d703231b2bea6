"""The walk of `lutlab demo`: two designs from source to a running board and back, every word checked."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lutlab.client import Client
from lutlab.errors import JobFailed, LutlabError, TimedOut
from lutlab.models import Event, Job
from lutlab.report import report_text
from lutlab.stream import BoardStream
from lutlab.text import describe, table
from lutlab_stack.console import Console

ECHO, COUNTER = "echo_memory/design.py", "counter/design.v"
RUN_WORDS = 64
SPACE_WORDS = 512
SINGLES = 100
COUNTER_LIMIT = 999
CONTROL, LIMIT, COUNT, WRAPS = 0x0, 0x4, 0x8, 0xC
RUN, CLEAR = 1, 2
POLL_S = 0.25
JOB_TIMEOUT_S = 600.0
IDLE_TIMEOUT_S = 60.0
EVENTS_SHOWN_MAX = 14
LOG_LINES_SHOWN = 15


class DemoFailed(LutlabError):
    """Something the demo shows is not so."""

    code = "demo_failed"


@dataclass(frozen=True)
class Placed:
    """A design that runs on a board."""

    name: str
    job: Job
    board: int


def walk(lab: Client, examples: Path, console: Console) -> None:
    """Build two designs at once, run them, give the boards back, show the boards' history.

    Raises:
        DemoFailed, LutlabError: at the first thing that is not as it should be.
    """
    echo, counter = build_both(lab, examples, console)
    try:
        check_echo_by_http(lab, echo, console)
        check_echo_by_stream(lab, echo, console)
        check_counter(lab, counter, console)
    finally:
        for placed in (echo, counter):
            lab.release(placed.board)
    wait_idle(lab, [echo.board, counter.board], console)
    for placed in (echo, counter):
        show_history(lab, placed, console)


def fresh_source(path: Path) -> tuple[str, bytes]:
    """A design with a comment of this run at its end: the same circuit, but built anew instead of found in a cache."""
    mark = {"py": "#", "v": "//"}[path.suffix.removeprefix(".")]
    return path.name, path.read_bytes() + f"{mark} demo run {secrets.token_hex(8)}\n".encode()


def build_both(lab: Client, examples: Path, console: Console) -> tuple[Placed, Placed]:
    """Submit both designs, follow them live, show their reports. Raises: DemoFailed."""
    names = (ECHO, COUNTER)
    ids = [lab.submit(fresh_source(examples / name)).job_id for name in names]
    for name, job_id in zip(names, ids, strict=True):
        console.done(f"submitted {name}: job {job_id}")
    jobs = follow(lab, dict(zip(names, ids, strict=True)), console)
    placed = []
    for name, job in zip(names, jobs, strict=True):
        console.done(f"{name} runs on board {job.board}")
        report = lab.job_detail(job.job_id).report
        if report is None:
            raise DemoFailed(f"job {job.job_id} is complete but has no build report")
        console.say(report_text(report))
        placed.append(Placed(name, job, job.board))
    return placed[0], placed[1]


def follow(lab: Client, ids: dict[str, str], console: Console) -> list[Job]:
    """Wait until all jobs are complete. Raises: JobFailed, TimedOut."""
    deadline = time.monotonic() + JOB_TIMEOUT_S
    while True:
        jobs = {name: lab.job(job_id) for name, job_id in ids.items()}
        console.doing("; ".join(f"{name}: {describe(job)}" for name, job in jobs.items()))
        for name, job in jobs.items():
            if job.ended and job.status != "complete":
                log = "\n".join(lab.logs(job.job_id).splitlines()[-LOG_LINES_SHOWN:])
                raise JobFailed(f"{name} {job.status}:\n{log}")
        if all(job.ended for job in jobs.values()):
            return list(jobs.values())
        if time.monotonic() > deadline:
            raise TimedOut(f"the builds have not ended after {JOB_TIMEOUT_S:g} s")
        time.sleep(POLL_S)


def random_words(count: int) -> list[int]:
    """Random 32-bit words."""
    return [secrets.randbits(32) for _ in range(count)]


def require_equal(what: str, wanted: Sequence[int], got: Sequence[int]) -> None:
    """Compare what came back. Raises: DemoFailed naming the first difference."""
    if list(wanted) == list(got):
        return
    if len(wanted) != len(got):
        raise DemoFailed(f"{what}: {len(got)} words came back instead of {len(wanted)}")
    index = next(i for i, (a, b) in enumerate(zip(wanted, got, strict=True)) if a != b)
    raise DemoFailed(f"{what}: word {index} came back as {got[index]:#010x} instead of {wanted[index]:#010x}")


def check_echo_by_http(lab: Client, echo: Placed, console: Console) -> None:
    """Write random words and read them back, one HTTP transaction each way."""
    words = random_words(RUN_WORDS)
    began = time.perf_counter()
    lab.write(echo.board, 0, words)
    back = lab.read(echo.board, 0, len(words))
    took_ms = (time.perf_counter() - began) * 1000
    require_equal("echo over HTTP", words, back)
    console.done(f"HTTP: {RUN_WORDS} random words written and read back equal ({took_ms:.0f} ms for both)")


def check_echo_by_stream(lab: Client, echo: Placed, console: Console) -> None:
    """The whole memory in bursts, then single words, over the WebSocket."""
    with lab.stream(echo.board) as stream:
        words = random_words(SPACE_WORDS)
        stream.write(0, words)
        require_equal("echo over the stream", words, stream.read(0, SPACE_WORDS))
        rate = _singles_per_second(stream)
    console.done(f"stream: {SPACE_WORDS} random words written and read back equal")
    console.done(f"stream: {SINGLES} single words written and read back, {rate:.0f} transactions a second")


def _singles_per_second(stream: BoardStream) -> float:
    """Write and read single words at random places; how many transactions a second."""
    began = time.perf_counter()
    for word in random_words(SINGLES):
        address = 4 * secrets.randbelow(SPACE_WORDS)
        stream.write(address, [word])
        require_equal(f"single word at {address:#x}", [word], stream.read(address))
    return 2 * SINGLES / (time.perf_counter() - began)


def check_counter(lab: Client, counter: Placed, console: Console) -> None:
    """Let the counter run, see that it counts to its limit and starts again, and that it stops when told.

    Raises: DemoFailed.
    """
    with lab.stream(counter.board) as stream:
        stream.write(CONTROL, [CLEAR])
        stream.write(LIMIT, [COUNTER_LIMIT])
        require_equal("counter limit", [COUNTER_LIMIT], stream.read(LIMIT))
        stream.write(CONTROL, [RUN])
        deadline = time.monotonic() + IDLE_TIMEOUT_S
        while stream.read(WRAPS)[0] == 0:
            if time.monotonic() > deadline:
                raise DemoFailed(f"the counter has not reached its limit of {COUNTER_LIMIT} after {IDLE_TIMEOUT_S:g} s")
        stream.write(CONTROL, [0])
        stopped = stream.read(COUNT, 2)
        if stopped[0] > COUNTER_LIMIT or stopped[1] == 0:
            raise DemoFailed(f"the counter stands at {stopped[0]} of {COUNTER_LIMIT} after {stopped[1]} rounds")
        require_equal("the stopped counter", stopped, stream.read(COUNT, 2))
    console.done(f"counter: {stopped[1]} rounds to {COUNTER_LIMIT} and {stopped[0]} more, then stopped as told")


def wait_idle(lab: Client, boards: Sequence[int], console: Console) -> None:
    """Wait until the boards are free again. Raises: TimedOut."""
    deadline = time.monotonic() + IDLE_TIMEOUT_S
    while True:
        states = {board: lab.board(board).state for board in boards}
        if all(state == "idle" for state in states.values()):
            break
        console.doing("released; " + ", ".join(f"board {board} is {state}" for board, state in states.items()))
        if time.monotonic() > deadline:
            raise TimedOut(f"the boards are not idle again after {IDLE_TIMEOUT_S:g} s: {states}")
        time.sleep(POLL_S)
    console.done("boards " + " and ".join(map(str, boards)) + " are idle again")


def show_history(lab: Client, placed: Placed, console: Console) -> None:
    """Print what the log says about a board, and check that it tells this job's story. Raises: DemoFailed."""
    events = lab.events(placed.board)
    for wanted in ("board.programming_started.v1", "board.programmed.v1", "board.session_ended.v1", "board.reset.v1"):
        if not any(event.type == wanted for event in events):
            raise DemoFailed(f"the log of board {placed.board} has no {wanted}")
    rows = [
        (event.position, f"{event.at.astimezone():%H:%M:%S}", event.type, _about(event))
        for event in events[-EVENTS_SHOWN_MAX:]
    ]
    console.say(f"\nboard {placed.board}, from the log:")
    console.say(table(("position", "when", "event", ""), rows))


def _about(event: Event) -> str:
    """The fields of an event that tell a story."""
    shown = ("owner", "reason", "epoch", "attempt", "agent_id", "code")
    return " ".join(f"{key}={event.data[key]}" for key in shown if event.data.get(key) is not None)
