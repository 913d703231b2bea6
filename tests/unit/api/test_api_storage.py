"""What an owner has stored: shown, and refused where it would be too much, before anything is stored."""

from __future__ import annotations

import httpx
import pytest
from api_fakes import BOB, ROOT, Lab, error_of

from lutlab_events.commands import SubmitBuild
from lutlab_events.ids import digest
from lutlab_events.rejections import Rejection
from lutlab_events.verification import UploadFiles

DESIGN = b"module top(); endmodule\n"
LIMIT = 1000


@pytest.fixture
def lab() -> Lab:
    return Lab(owner_bytes_max=LIMIT)


async def submit(client: httpx.AsyncClient, data: bytes = DESIGN, **headers: str) -> httpx.Response:
    return await client.post("/submit", files={"file": ("design.v", data)}, headers=headers)


async def test_an_owner_sees_what_is_stored_for_him(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.storage.held["ada"] = {"a": 300, "b": 100}
    assert (await ada.get("/api/v1/storage")).json() == {
        "owner": "ada",
        "used_bytes": 400,
        "limit_bytes": LIMIT,
        "left_bytes": 600,
        "blobs": 2,
    }
    async with lab.client(BOB) as bob, lab.client(ROOT) as root:
        assert error_of(await bob.get("/api/v1/storage?owner=ada"))[:2] == (403, "admin_only")
        assert (await root.get("/api/v1/storage?owner=ada")).json()["used_bytes"] == 400


async def test_what_is_too_much_is_refused_before_it_is_stored(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.storage.held["ada"] = {"a": LIMIT - len(DESIGN) + 1}
    status, code, message = error_of(await submit(ada))
    assert (status, code) == (413, "storage_full")
    for told in (str(LIMIT - len(DESIGN) + 1), str(len(DESIGN)), str(LIMIT), "delete a project", "wait"):
        assert told in message
    assert not lab.ledger.blobs and not lab.commands.sent
    lab.storage.held["ada"] = {"a": LIMIT - len(DESIGN)}
    assert (await submit(ada)).status_code == 202
    assert lab.last(SubmitBuild).source_bytes == len(DESIGN)


async def test_what_the_owner_has_already_needs_no_room_but_a_job_needs_some(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.storage.held["ada"] = {digest(DESIGN): LIMIT - 1}
    assert (await submit(ada)).status_code == 202
    lab.clock.seconds += 60
    lab.storage.held["ada"]["rest"] = 1
    assert error_of(await submit(ada))[1] == "storage_full"


async def test_a_repetition_is_answered_as_it_was_then(lab: Lab, ada: httpx.AsyncClient) -> None:
    first = await submit(ada, **{"Idempotency-Key": "k"})
    assert first.status_code == 202
    lab.clock.seconds += 60
    lab.storage.held["ada"] = {"a": LIMIT}
    again = await submit(ada, **{"Idempotency-Key": "k"})
    assert (again.status_code, again.json()) == (202, first.json())
    assert error_of(await submit(ada, **{"Idempotency-Key": "l"}))[1] == "storage_full"


async def test_while_there_is_room_the_ledger_is_not_asked_every_time(lab: Lab, ada: httpx.AsyncClient) -> None:
    for _ in range(5):
        assert (await submit(ada)).status_code == 202
    assert lab.storage.looks == 1


async def test_a_projects_files_count_for_its_owner(lab: Lab, ada: httpx.AsyncClient) -> None:
    made = await ada.post("/api/v1/projects", json={"name": "uart", "top_module": "top", "target_pdk": "sky130"})
    path = f"/api/v1/projects/{made.json()['id']}/upload"
    lab.storage.held["ada"] = {"a": LIMIT - 5}
    files = [("files[]", ("a.v", b"same")), ("files[]", ("b.v", b"same"))]
    assert (await ada.post(path, files=files)).status_code == 200, "the same content twice needs room once"
    files.append(("files[]", ("c.v", b"another")))
    async with lab.client(ROOT) as root:
        refused = await root.post(path, files=files)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["details"]["reason"]) == (413, "VALIDATION_ERROR", "storage_full")
    assert error["details"]["limit_bytes"] == LIMIT
    assert lab.last(UploadFiles).files.keys() == {"a.v", "b.v"}


async def test_the_schedulers_refusal_is_told_in_the_same_way(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.commands.rejections[SubmitBuild] = Rejection.STORAGE_FULL
    assert error_of(await submit(ada))[:2] == (413, "storage_full")


async def test_uploads_that_are_refused_for_another_reason_do_not_fill_the_database(
    lab: Lab, ada: httpx.AsyncClient
) -> None:
    made = await ada.post("/api/v1/projects", json={"name": "uart", "top_module": "top", "target_pdk": "sky130"})
    path = f"/api/v1/projects/{made.json()['id']}/upload"

    async def upload(name: bytes) -> str:
        answer = await ada.post(path, files={"files[]": ("a.v", name * 400)})
        return "taken" if answer.status_code == 200 else str(answer.json()["error"]["details"]["reason"])

    assert [await upload(name) for name in (b"a", b"b", b"c")] == ["taken"] * 3, "the ledger counts what was accepted"
    lab.commands.rejections[UploadFiles] = Rejection.PROJECT_FULL
    before = len(lab.ledger.blobs)
    told = [await upload(name) for name in (b"d", b"e", b"d", b"f", b"g")]
    assert told == ["project_full"] * 3 + ["storage_full"] * 2
    assert len(lab.ledger.blobs) == before + 2
    lab.clock.seconds += 2 * 3600 + 1
    assert await upload(b"f") == "project_full", "what nobody speaks of is gone by now"


async def test_a_team_stores_nothing_for_its_members(lab: Lab) -> None:
    lab.ledger.add_key("ada-red", "ada", team="red")
    lab.ledger.add_key("cy-red", "cy", team="red")
    async with lab.client("ada-red") as ada, lab.client("cy-red") as mate:
        made = await ada.post("/api/v1/projects", json={"name": "uart", "top_module": "top", "target_pdk": "sky130"})
        path = f"/api/v1/projects/{made.json()['id']}/upload"
        answer = await mate.post(path, files={"files[]": ("a.v", b"x")})
    assert answer.json()["error"]["details"]["reason"] == "not_your_project"
    assert not lab.ledger.blobs
