"""The client against a lab that says what it is told to say."""

from __future__ import annotations

import asyncio
import contextlib
import json
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
import pytest

from lutlab import client as client_module
from lutlab.batch import Batch
from lutlab.client import Client
from lutlab.errors import JobFailed, LutlabError, Refused, TimedOut, Unreachable
from lutlab.http import AWAY_TRIES_MAX

Answer = Callable[[httpx.Request], httpx.Response]

JOB = {
    "job_id": "j1",
    "fpga_id": None,
    "type": "build_and_program",
    "status": "queued",
    "created_at": "2026-01-02T03:04:05+00:00",
    "updated_at": "2026-01-02T03:04:05+00:00",
    "added_later": 1,
}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    waits: list[float] = []
    monkeypatch.setattr(client_module.time, "sleep", waits.append)
    yield waits


def lab(*answers: Answer | httpx.Response | BaseException, **options: Any) -> tuple[Client, list[httpx.Request]]:
    """A client whose requests are answered in this order; the last answer repeats."""
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        answer = answers[min(len(seen), len(answers) - 1)]
        seen.append(request)
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer(request)

    return Client("http://lab/", "key", transport=httpx.MockTransport(handle), **options), seen


def error(status: int, code: str, message: str, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"detail": {"error": code, "message": message}}, headers=headers)


def test_answers_become_typed_values_and_new_fields_do_no_harm() -> None:
    connected, seen = lab(httpx.Response(200, json=JOB))
    with connected:
        job = connected.job("j1")
    assert (job.status, job.ended, job.created_at.tzinfo is not None) == ("queued", False, True)
    assert (str(seen[0].url), seen[0].headers["X-API-Key"]) == ("http://lab/jobs/j1", "key")


def test_a_refusal_carries_code_and_sentence() -> None:
    connected, _ = lab(error(409, "fpga_not_idle", "board 3 is reserved"))
    with connected, pytest.raises(Refused, match="board 3 is reserved") as caught:
        connected.submit(("design.v", b"module m; endmodule"), fpga_id=3)
    assert (caught.value.code, caught.value.status) == ("fpga_not_idle", 409)


def test_an_answer_of_something_else_is_named() -> None:
    connected, _ = lab(httpx.Response(502, text="<html>Bad gateway"))
    with connected, pytest.raises(Refused, match=r"HTTP 502: <html>"):
        connected.boards()
    connected, _ = lab(httpx.Response(200, json={"no": "list"}))
    with connected, pytest.raises(LutlabError, match="does not understand"):
        connected.boards()


def test_a_lab_that_is_elsewhere_is_named_and_gets_no_key() -> None:
    connected, seen = lab(httpx.Response(301, headers={"Location": "https://lab.example/fpga"}))
    with connected, pytest.raises(Refused, match=r"sends its callers to https://lab\.example/fpga.*--api-url"):
        connected.boards()
    assert len(seen) == 1


def test_a_lab_that_is_busy_is_asked_again_with_the_same_key(no_waiting: list[float]) -> None:
    busy = error(503, "scheduler_unavailable", "later", **{"Retry-After": "2"})
    connected, seen = lab(busy, busy, httpx.Response(202, json={"job_id": "j1", "status": "queued"}))
    with connected:
        assert connected.submit(("design.v", b"x")).job_id == "j1"
    assert no_waiting == [2, 2]
    keys = {request.headers["Idempotency-Key"] for request in seen}
    assert (len(seen), len(keys)) == (3, 1)


def test_two_submits_have_two_keys() -> None:
    connected, seen = lab(httpx.Response(202, json={"job_id": "j1", "status": "queued"}))
    with connected:
        connected.submit(("design.v", b"x"))
        connected.submit(("design.v", b"x"))
    assert seen[0].headers["Idempotency-Key"] != seen[1].headers["Idempotency-Key"]


def test_a_lost_answer_is_asked_for_again() -> None:
    told: list[str] = []
    queued = httpx.Response(202, json={"job_id": "j1", "status": "queued"})
    connected, seen = lab(httpx.ReadTimeout("lost"), httpx.ReadError("lost"), queued, on_retry=told.append)
    with connected:
        assert connected.release(0).job_id == "j1"
    assert told == ["http://lab does not answer: lost"]
    assert seen[0].headers["Idempotency-Key"] == seen[1].headers["Idempotency-Key"]


def test_a_lab_that_is_not_there_is_said_at_once(no_waiting: list[float]) -> None:
    connected, seen = lab(httpx.ConnectError("refused"))
    with connected, pytest.raises(Unreachable, match="http://lab does not answer"):
        connected.boards()
    assert (len(seen), no_waiting) == (1, [])


def test_a_lab_that_starts_again_is_waited_for(no_waiting: list[float]) -> None:
    told: list[str] = []
    down = httpx.ConnectError("refused")
    proxy = httpx.Response(502, text="<html>Bad gateway")
    running, complete = states({"status": "running"}, {"status": "complete", "fpga_id": 1})
    connected, seen = lab(running, *[down] * 20, proxy, complete, on_retry=told.append)
    with connected:
        assert connected.wait("j1").fpga_id == 1
    assert len(seen) == 23
    assert told == ["http://lab does not answer: refused"]
    connected, seen = lab(running, down)
    with connected, pytest.raises(Unreachable):
        connected.wait("j1")
    assert len(seen) == 1 + AWAY_TRIES_MAX


@pytest.mark.parametrize(("status", "code"), [(502, "link_lost"), (504, "bus_timeout")])
def test_a_board_that_failed_is_no_lab_that_starts_again(status: int, code: str, no_waiting: list[float]) -> None:
    connected, seen = lab(*states({}), error(status, code, "the board"))
    with connected, pytest.raises(Refused, match="the board"):
        connected.job("j1")
        connected.write(0, 0, [1])
    assert (len(seen), no_waiting) == (2, [])


def test_a_repetition_that_comes_too_early_waits_for_the_first_attempt() -> None:
    early = error(409, "request_in_progress", "still being worked on")
    done = httpx.Response(202, json={"job_id": "r", "status": "complete"})
    connected, seen = lab(httpx.ReadTimeout("lost"), early, done, httpx.Response(200, json={"ok": True, "data": [7]}))
    with connected:
        assert connected.read(0, 0) == [7]
    assert [request.url.path for request in seen] == ["/fpga/0/run"] * 3 + ["/jobs/r/result"]


def test_whatever_changes_something_can_be_repeated() -> None:
    connected, seen = lab(httpx.ReadTimeout("lost"), httpx.Response(204))
    with connected:
        connected.cancel("j1")
        connected.delete("/api/v1/boards/0")
        connected.request("PUT", "/fpga/0/pins", headers={"Idempotency-Key": "mine"})
    keys = [request.headers["Idempotency-Key"] for request in seen]
    assert keys[0] == keys[1] != keys[2]
    assert keys[3] == "mine"


def test_a_board_is_ours_for_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    connected, seen = lab(
        *states({"status": "complete", "fpga_id": 2}),
        httpx.Response(202, json={"job_id": "r", "status": "queued"}),
    )
    opened = contextlib.nullcontext(object())
    monkeypatch.setattr(connected, "stream", lambda fpga_id: opened if fpga_id == 2 else None)
    with pytest.raises(ZeroDivisionError), connected.running("j1") as board:
        assert board is opened.enter_result
        raise ZeroDivisionError
    assert seen[-1].url.path == "/fpga/2/session/release"
    connected, seen = lab(*states({}), KeyboardInterrupt(), httpx.Response(204))
    with pytest.raises(KeyboardInterrupt), connected.running("j1"):
        raise AssertionError
    assert (seen[-1].method, seen[-1].url.path) == ("DELETE", "/jobs/j1")
    too_late = [error(409, "job_ended", "too late"), *states({"status": "complete", "fpga_id": 2})]
    connected, seen = lab(
        *states({}), KeyboardInterrupt(), *too_late, httpx.Response(202, json={"job_id": "r", "status": "queued"})
    )
    with pytest.raises(KeyboardInterrupt), connected.running("j1"):
        raise AssertionError
    assert seen[-1].url.path == "/fpga/2/session/release"


class Number:
    """As NumPy's integers are: no int, but good for one."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


def test_words_may_be_whatever_is_a_number() -> None:
    assert Batch().write(0, [Number(5), 6]).write(4, array("I", [7])).ops[0]["data"] == [5, 6]
    for words, error, says in (
        ([1, Number(-1)], LutlabError, "word 1 is -1.*0xffffffff"),
        ([1 << 32], LutlabError, "not 32-bit"),
        ([1.5], TypeError, "float"),
    ):
        with pytest.raises(error, match=says):
            Batch().write(0, words)  # type: ignore[arg-type]


def test_only_what_was_given_is_submitted() -> None:
    connected, seen = lab(httpx.Response(202, json={"job_id": "j1", "status": "queued"}))
    with connected:
        connected.submit(("design.v", b"the source"), top="m", sys_clk_freq=25_000_000)
    body = seen[0].content
    assert b'name="file"; filename="design.v"' in body
    assert b"the source" in body
    assert b"25000000" in body
    assert b"timing_target" not in body


def states(*changes: dict[str, object]) -> list[httpx.Response]:
    return [httpx.Response(200, json=JOB | change) for change in changes]


def test_waiting_tells_each_change_once() -> None:
    building = {"status": "running", "build_stage": "synthesize"}
    connected, _ = lab(*states({}, {}, building, building, {"status": "complete", "fpga_id": 1}))
    told: list[tuple[str, str | None]] = []
    with connected:
        job = connected.wait("j1", on_change=lambda job: told.append((job.status, job.build_stage)))
    assert job.board == 1
    with pytest.raises(LutlabError, match="has no board"):
        assert msgspec.structs.replace(job, fpga_id=None).board
    assert told == [("queued", None), ("running", "synthesize"), ("complete", None)]


async def test_waiting_beside_an_event_loop_is_the_same_and_can_be_cancelled() -> None:
    connected, _ = lab(*states({}, {"status": "running"}, {"status": "complete", "fpga_id": 1}))
    told: list[str] = []
    with connected:
        assert (await connected.wait_async("j1", on_change=lambda job: told.append(job.status))).fpga_id == 1
    assert told == ["queued", "running", "complete"]
    connected, _ = lab(*states({"status": "cancelled"}))
    with connected, pytest.raises(JobFailed, match="was cancelled"):
        await connected.wait_async("j1")
    connected, _ = lab(*states({}))
    with connected, pytest.raises(TimeoutError):
        await asyncio.wait_for(connected.wait_async("j1"), 0.05)


def test_a_failed_job_says_why() -> None:
    failed = JOB | {"status": "failed", "error": {"code": "syntax", "message": "design.v:3: no", "stage": "synthesize"}}
    connected, _ = lab(httpx.Response(200, json=failed))
    with connected, pytest.raises(JobFailed, match=r"failed in synthesize \(syntax\): design.v:3: no") as caught:
        connected.wait("j1")
    assert (caught.value.job_id, caught.value.failure and caught.value.failure.code) == ("j1", "syntax")


def test_waiting_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    connected, _ = lab(*states({}))
    now = iter(range(0, 1000, 10))
    monkeypatch.setattr(client_module.time, "monotonic", lambda: next(now))
    with connected, pytest.raises(TimedOut, match="still queued after 25 s"):
        connected.wait("j1", timeout_s=25)


def test_a_read_asks_for_words_and_gives_them() -> None:
    connected, seen = lab(
        httpx.Response(202, json={"job_id": "r", "fpga_id": 0, "status": "queued"}),
        httpx.Response(200, json=JOB | {"type": "run", "status": "complete"}),
        httpx.Response(200, json={"ok": True, "data": [1, 2]}),
    )
    with connected:
        assert connected.read(0, 8, 2) == [1, 2]
    assert json.loads(seen[0].content) == {"op": 2, "address": 8, "data": [], "count": 2}


def test_more_words_than_a_run_may_have_are_several_runs() -> None:
    runs: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            runs.append(json.loads(request.content))
            return httpx.Response(202, json={"job_id": "r", "status": "complete"})
        first = runs[-1]["address"] // 4
        words = list(range(first, first + runs[-1].get("count", 0)))
        return httpx.Response(200, json={"ok": True, "data": words})

    connected, _ = lab(answer)
    with connected:
        assert connected.read(0, 8, 1100) == list(range(2, 1102))
        assert connected.write(0, 0x100, range(600)).data == list(range(600))
        connected.write(0, 0, range(513), fixed_address=True)
    assert [(run["address"], run.get("count", len(run["data"]))) for run in runs] == [
        (8, 512), (8 + 2048, 512), (8 + 4096, 76), (0x100, 512), (0x100 + 2048, 88), (0, 512), (0, 1),
    ]  # fmt: skip


def test_a_bus_error_is_no_success() -> None:
    connected, _ = lab(
        httpx.Response(202, json={"job_id": "r", "status": "complete"}),
        httpx.Response(200, json={"ok": False, "data": [], "error": {"code": "bus_error", "message": "no answer"}}),
    )
    with connected, pytest.raises(Refused, match="no answer"):
        connected.write(0, 0, [1])


def event(position: int) -> dict[str, object]:
    return {
        "position": position,
        "stream": "board-0",
        "version": position,
        "type": "board.reset.v1",
        "at": "2026-01-02T03:04:05Z",
    }


def test_all_pages_of_a_history_are_read() -> None:
    connected, seen = lab(
        httpx.Response(200, json={"events": [event(3), event(7)], "next_after": 7}),
        httpx.Response(200, json={"events": [event(9)], "next_after": 9}),
        httpx.Response(200, json={"events": [], "next_after": 9}),
    )
    with connected:
        assert [e.position for e in connected.events(0)] == [3, 7, 9]
    assert [request.url.params["after"] for request in seen] == ["0", "7", "9"]


class Broken(httpx.SyncByteStream):
    """A body of which the rest does not come."""

    def __iter__(self) -> Iterator[bytes]:
        yield log(0, 1)
        raise httpx.ReadError("gone")


def log(*numbers: int) -> bytes:
    line = {"timestamp": "2026-01-02T03:04:05Z", "stage": "lint", "level": "INFO"}
    return b"".join(json.dumps(line | {"message": str(number)}).encode() + b"\n" for number in numbers)


def test_a_followed_log_goes_on_behind_a_lab_that_starts_again() -> None:
    running, passed = (httpx.Response(200, json={"job_id": "job_1", "status": s}) for s in ("running", "passed"))
    connected, _ = lab(
        httpx.Response(200, stream=Broken()),
        httpx.ConnectError("refused"), running, httpx.Response(200, content=log(0, 1, 2)),  # stopped in good order
        running, httpx.Response(200, content=log(0, 1, 2, 3)), passed,
    )  # fmt: skip
    with connected:
        assert [line.message for line in connected.verification.follow("job_1")] == ["0", "1", "2", "3"]
    connected, _ = lab(httpx.ConnectError("refused"))
    with connected, pytest.raises(Unreachable):
        list(connected.verification.follow("job_1"))
