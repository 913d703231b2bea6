"""Keys: presented, refused, remembered briefly, issued, revoked."""

from __future__ import annotations

from uuid import UUID

import httpx
import pytest
from api_fakes import ADA, ROOT, Lab, board, error_of

from lutlab_api.app.keys import Bootstrap
from lutlab_events.commands import IssueKey, RevokeKey
from lutlab_events.ids import digest
from lutlab_events.rejections import Rejection
from lutlab_events.values import Role


async def test_both_headers_are_good(lab: Lab) -> None:
    async with lab.client(None) as client:
        assert (await client.get("/jobs", headers={"X-API-Key": ADA})).status_code == 200
        assert (await client.get("/jobs", headers={"Authorization": f"Bearer {ADA}"})).status_code == 200
        assert (await client.get("/jobs", headers={"Authorization": f"bearer {ADA}"})).status_code == 200


async def test_missing_and_wrong_keys(lab: Lab) -> None:
    async with lab.client(None) as client:
        answer = await client.get("/jobs")
        assert error_of(answer)[:2] == (401, "missing_api_key")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        for wrong in ("x", ADA + "x", ADA[:-1], digest(ADA.encode()), "é" * 10, "x" * 5000):
            answer = await client.get("/jobs", headers=[(b"X-API-Key", wrong.encode())])
            assert error_of(answer)[:2] == (401, "invalid_api_key")
        assert error_of(await client.get("/jobs", headers={"Authorization": "Bearer nope"}))[1] == "invalid_api_key"
        assert error_of(await client.get("/jobs", headers={"Authorization": f"Basic {ADA}"}))[1] == "missing_api_key"


async def test_a_wrong_key_is_refused_where_none_is_needed(public_lab: Lab) -> None:
    async with public_lab.client("nope") as client:
        for path in ("/fpga", "/fpga/0", f"/jobs/{UUID(int=1)}"):
            assert error_of(await client.get(path))[:2] == (401, "invalid_api_key")
        assert (await client.get("/health")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/submit"),
        ("POST", "/fpga/0/submit"),
        ("POST", "/fpga/0/run"),
        ("POST", "/fpga/0/reset"),
        ("POST", "/fpga/0/session/release"),
        ("DELETE", f"/jobs/{UUID(int=1)}"),
        ("DELETE", f"/fpga/0/jobs/{UUID(int=1)}"),
        ("GET", "/jobs"),
        ("POST", "/auth/keys"),
        ("GET", "/auth/keys"),
        ("DELETE", "/auth/keys/me"),
    ],
)
async def test_what_changes_or_belongs_to_somebody_always_needs_a_key(public_lab: Lab, method: str, path: str) -> None:
    async with public_lab.client(None) as client:
        assert error_of(await client.request(method, path, json={"op": 1, "address": 0, "owner": "x"}))[0] == 401
    assert public_lab.commands.sent == []


async def test_a_key_is_remembered_for_a_second_only(lab: Lab, ada: httpx.AsyncClient) -> None:
    for _ in range(5):
        assert (await ada.get("/jobs")).status_code == 200
    assert lab.ledger.key_looks == 1
    lab.ledger.key_views.clear()
    assert (await ada.get("/jobs")).status_code == 200
    lab.clock.seconds += 1.01
    assert error_of(await ada.get("/jobs"))[:2] == (401, "invalid_api_key")


async def test_what_is_remembered_is_bounded(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lutlab_api.app.auth.REMEMBERED_MAX", 3)
    for number in range(10):
        lab.ledger.add_key(f"key-{number}", "ada")
        await lab.services.authenticator.caller(f"key-{number}")
    looks = lab.ledger.key_looks
    await lab.services.authenticator.caller("key-9")
    assert lab.ledger.key_looks == looks
    await lab.services.authenticator.caller("key-0")
    assert lab.ledger.key_looks == looks + 1


async def test_an_admin_issues_a_key_that_works(lab: Lab) -> None:
    async with lab.client(ROOT) as root, lab.client(None) as client:
        answer = await root.post("/auth/keys", json={"owner": "eve", "label": "laptop"})
        assert answer.status_code == 201
        issued = answer.json()
        assert (issued["owner"], issued["role"], issued["label"]) == ("eve", "member", "laptop")
        command = lab.last(IssueKey)
        assert command.key_sha256 == digest(issued["api_key"].encode())
        assert str(command.key_id) == issued["key_id"]
        assert (await client.get("/jobs", headers={"X-API-Key": issued["api_key"]})).status_code == 200
        listed = (await root.get("/auth/keys")).json()
        assert "eve" in {key["owner"] for key in listed}
        assert issued["api_key"] not in str(listed)
        assert command.key_sha256 not in str(listed)


async def test_a_repeated_issue_shows_the_same_key_to_the_same_admin_only(lab: Lab) -> None:
    again = {"Idempotency-Key": "k1"}
    lab.ledger.add_key("other-root-key", "root", Role.ADMIN)
    async with lab.client(ROOT) as root, lab.client("other-root-key") as other:
        first = (await root.post("/auth/keys", json={"owner": "eve"}, headers=again)).json()
        assert (await root.post("/auth/keys", json={"owner": "eve"}, headers=again)).json() == first
        assert sum(isinstance(s.body, IssueKey) for s in lab.commands.sent) == 1
        for client, owner in ((root, "mallory"), (other, "eve")):
            answer = await client.post("/auth/keys", json={"owner": owner}, headers=again)
            assert error_of(answer)[:2] == (409, "idempotency_mismatch")


async def test_members_manage_only_their_own_key(lab: Lab, ada: httpx.AsyncClient) -> None:
    key_id = lab.ledger.key_views[digest(ROOT.encode())].key_id
    assert error_of(await ada.post("/auth/keys", json={"owner": "eve"}))[:2] == (403, "admin_only")
    assert error_of(await ada.get("/auth/keys"))[:2] == (403, "admin_only")
    assert error_of(await ada.delete(f"/auth/keys/{key_id}"))[:2] == (403, "admin_only")
    assert lab.commands.sent == []
    assert (await ada.delete("/auth/keys/me")).status_code == 204
    assert lab.last(RevokeKey).key_id == lab.ledger.key_views[digest(ADA.encode())].key_id
    assert error_of(await ada.get("/jobs"))[:2] == (401, "invalid_api_key")  # at once, in this process


async def test_an_admin_revokes_any_key(lab: Lab, ada: httpx.AsyncClient) -> None:
    async with lab.client(ROOT) as root:
        key_id = lab.ledger.key_views[digest(ADA.encode())].key_id
        assert (await root.delete(f"/auth/keys/{key_id}")).status_code == 204
        assert error_of(await ada.get("/jobs"))[0] == 401
        lab.commands.rejections[RevokeKey] = Rejection.KEY_NOT_FOUND
        assert error_of(await root.delete(f"/auth/keys/{UUID(int=3)}"))[:2] == (404, "key_not_found")
        assert error_of(await root.delete("/auth/keys/nonsense"))[:2] == (422, "validation_error")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"owner": ""},
        {"owner": "a b"},
        {"owner": "x" * 65},
        {"owner": "x", "role": "god"},
        {"owner": "x", "label": "\0"},
        [],
        "x",
    ],
)
async def test_bad_key_requests(lab: Lab, body: object) -> None:
    async with lab.client(ROOT) as root:
        assert error_of(await root.post("/auth/keys", json=body))[:2] == (422, "validation_error")
    assert lab.commands.sent == []


async def test_the_references_login_says_what_to_do(lab: Lab) -> None:
    async with lab.client(None) as client:
        status, code, message = error_of(await client.post("/auth/github/exchange", json={"github_token": "x"}))
        assert (status, code) == (400, "github_login_unsupported")
        assert "/auth/keys" in message


async def test_the_bootstrap_key_becomes_an_admins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lutlab_api.app.keys.BOOTSTRAP_WAITS_S", (0.0,))
    lab = Lab(bootstrap_key="first-key-of-all", bootstrap_owner="boss")
    assert (lab.services.bootstrap.done, lab.settings.bootstrap_key is None) == (False, False)
    async with lab.client("first-key-of-all") as boss:
        assert (await boss.get("/health")).json()["status"] == "degraded"
        lab.commands.swallow = 2
        await lab.services.bootstrap.run()
        assert (await boss.get("/health")).json()["status"] == "ok"
        assert (await boss.post("/auth/keys", json={"owner": "eve"})).status_code == 201
    issued = [(s.command_id, s.body) for s in lab.commands.sent if isinstance(s.body, IssueKey)]
    assert {body.owner: body.role for _, body in issued} == {"boss": Role.ADMIN, "eve": Role.MEMBER}
    assert len({command_id for command_id, body in issued if body.owner == "boss"}) == 1
    assert "first-key-of-all" not in repr(lab.settings)


@pytest.mark.parametrize("rejection", [Rejection.KEY_EXISTS, Rejection.IDEMPOTENCY_MISMATCH])
async def test_the_bootstrap_key_may_exist(lab: Lab, rejection: Rejection) -> None:
    lab.commands.rejections[IssueKey] = rejection
    bootstrap = Bootstrap(lab.commands, secret="first-key-of-all", owner="boss", timeout_s=1)
    await bootstrap.run()
    assert bootstrap.done


async def test_a_refused_bootstrap_ends(lab: Lab) -> None:
    lab.ledger.add(board(0))
    bootstrap = Bootstrap(lab.commands, secret=None, owner="boss", timeout_s=1)
    await bootstrap.run()
    assert bootstrap.done
    assert lab.commands.sent == []
