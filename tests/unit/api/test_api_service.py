"""Boards in and out of service; labels and priorities; where a job stands."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import httpx
import pytest
from api_fakes import ROOT, T0, Lab, board, error_of, job

from lutlab_api.domain.queue import Queue, Rival, Slot, Standing, standing
from lutlab_api.domain.views import Failure
from lutlab_events.commands import ForgetBoard, ReturnBoard, SubmitBuild, WithdrawBoard
from lutlab_events.rejections import Rejection
from lutlab_events.values import JobStatus

FILE = {"file": ("design.v", b"module m(); endmodule")}
HOUR = timedelta(hours=1)


def place(queue: Queue) -> int:
    return standing(queue, T0).position


def test_the_own_queue_and_higher_priorities_go_first() -> None:
    assert place(Queue(owner="ada", number=5)) == 1
    assert place(Queue(owner="ada", number=5, higher=3, own_ahead=2)) == 6


def test_rivals_go_first_while_they_would_hold_fewer_boards() -> None:
    many_later = {"bob": Rival(waiting=9, oldest=6)}
    assert place(Queue(owner="ada", number=5, rivals=many_later)) == 1
    assert place(Queue(owner="ada", number=5, rivals={"bob": Rival(waiting=9, oldest=4)})) == 2
    assert place(Queue(owner="ada", number=5, rivals=many_later, held={"ada": 2})) == 3
    assert place(Queue(owner="ada", number=5, own_ahead=3, rivals=many_later)) == 7
    assert place(Queue(owner="ada", number=5, rivals=many_later, held={"bob": 4})) == 1
    assert place(Queue(owner="ada", number=5, held={"ada": 50}, rivals={"bob": Rival(waiting=2, oldest=9)})) == 3


def test_the_estimate_is_when_the_board_comes_free_that_is_left() -> None:
    busy = [Slot(free=False, since=T0 - HOUR, until=T0 + n * HOUR) for n in (2, 1, 3)]
    free = Slot(free=True)

    def estimate(before: int, *slots: Slot) -> object:
        return standing(Queue(owner="ada", number=5, higher=before, slots=slots), T0).estimated_start_at

    assert estimate(0) is None
    assert estimate(0, free) == T0
    assert estimate(0, *busy) == T0 + HOUR
    assert estimate(1, *busy, free) == T0 + HOUR
    assert estimate(2, *busy) == T0 + 3 * HOUR
    assert estimate(3, *busy) == T0 + HOUR + 3 * HOUR  # a second round, by the mean length of the sessions
    assert estimate(1, free) is None


async def test_a_waiting_job_is_told_its_place(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(job(1, status=JobStatus.QUEUED), job(2))
    lab.audit.queues[UUID(int=1)] = Queue(owner="ada", number=1, own_ahead=1, slots=[Slot(free=True)])
    told = (await ada.get(f"/api/v1/jobs/{UUID(int=1)}")).json()
    assert (told["queue_position"], told["estimated_start_at"]) == (2, None)
    told = (await ada.get(f"/api/v1/jobs/{UUID(int=1)}/queue")).json()
    assert told == {"position": 2, "boards": 1, "estimated_start_at": None}
    told = (await ada.get(f"/api/v1/jobs/{UUID(int=2)}/queue")).json()
    assert told == {"position": None, "boards": None, "estimated_start_at": None}
    assert (await ada.get(f"/api/v1/jobs/{UUID(int=2)}")).json()["queue_position"] is None
    assert isinstance(standing(lab.audit.queues[UUID(int=1)], T0), Standing)


@pytest.mark.parametrize(("path", "kick"), [("drain", False), ("maintenance", True)])
async def test_only_admins_take_boards_out_of_service(lab: Lab, ada: httpx.AsyncClient, path: str, kick: bool) -> None:
    body = {"reason": "new fan"}
    assert error_of(await ada.post(f"/api/v1/boards/3/{path}", json=body))[:2] == (403, "admin_only")
    async with lab.client(ROOT) as root:
        assert (await root.post(f"/api/v1/boards/3/{path}", json=body)).status_code == 204
        assert lab.last(WithdrawBoard) == WithdrawBoard(fpga_id=3, owner="root", reason="new fan", kick=kick)
        assert error_of(await root.post(f"/api/v1/boards/3/{path}", json={"reason": "a\nb"}))[0] == 422


async def test_only_admins_forget_boards(lab: Lab, ada: httpx.AsyncClient) -> None:
    assert error_of(await ada.delete("/api/v1/boards/3"))[:2] == (403, "admin_only")
    async with lab.client(ROOT) as root:
        assert (await root.delete("/api/v1/boards/3")).status_code == 204
        assert lab.last(ForgetBoard) == ForgetBoard(fpga_id=3, owner="root")
        lab.commands.rejections[ForgetBoard] = Rejection.BOARD_IN_USE
        assert error_of(await root.delete("/api/v1/boards/3"))[:2] == (409, "board_in_use")


async def test_boards_are_put_back(lab: Lab, ada: httpx.AsyncClient) -> None:
    assert error_of(await ada.post("/api/v1/boards/3/return", json={}))[:2] == (403, "admin_only")
    lab.commands.rejections[ReturnBoard] = Rejection.NOTHING_TO_DO
    async with lab.client(ROOT) as root:
        assert error_of(await root.post("/api/v1/boards/3/return", json={}))[:2] == (409, "nothing_to_do")


async def test_an_idle_board_out_of_service_is_not_told_as_idle(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(board(0, is_away=True, error=Failure(code="board_in_quarantine", message="3 loads failed")))
    told = (await ada.get("/fpga/0")).json()
    assert (told["state"], told["error"]["code"]) == ("error", "board_in_quarantine")


async def test_labels_and_priority_ride_along(lab: Lab, ada: httpx.AsyncClient) -> None:
    answer = await ada.post("/submit", files=FILE, data={"labels": "fast, left,fast", "priority": "-3"})
    assert answer.status_code == 202
    assert (lab.last(SubmitBuild).labels, lab.last(SubmitBuild).priority) == (("fast", "left"), -3)
    async with lab.client(ROOT) as root:
        await root.post("/submit", files=FILE, data={"priority": "7"})
    assert lab.last(SubmitBuild).priority == 7


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"labels": "a b"}, "invalid_labels"),
        ({"labels": ",".join(map(str, range(17)))}, "invalid_labels"),
        ({"priority": "1"}, "invalid_priority"),
        ({"priority": "-11"}, "invalid_priority"),
        ({"priority": "high"}, "invalid_priority"),
    ],
)
async def test_wishes_that_cannot_be_granted(lab: Lab, ada: httpx.AsyncClient, data: dict[str, str], code: str) -> None:
    assert error_of(await ada.post("/submit", files=FILE, data=data))[:2] == (422, code)


async def test_an_owner_at_the_limit_may_try_later(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.commands.rejections[SubmitBuild] = Rejection.OWNER_LIMIT
    answer = await ada.post("/submit", files=FILE)
    assert error_of(answer)[:2] == (429, "owner_limit")
    assert answer.headers["Retry-After"]
