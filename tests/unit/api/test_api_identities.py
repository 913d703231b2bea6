"""Scopes, roles, expiry, rotation, teams, last use, throttling and logging in."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from api_fakes import ADA, BOB, T0, Lab, error_of, job, reserved

from lutlab_api.app.ports import Identity, KeyFilter
from lutlab_api.domain.errors import ApiError, Code, NotAuthenticated
from lutlab_events.commands import IssueKey, RevokeKey, RotateKey
from lutlab_events.values import ROLE_SCOPES, Role, Scope

FILE = {"file": ("design.v", b"module m; endmodule")}
RUN = {"op": 2, "address": 0}


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        ((Scope.READ,), {"GET /jobs", "GET /fpga"}),
        ((Scope.SUBMIT,), {"POST /submit", "DELETE /jobs/1"}),
        ((Scope.RUN,), {"POST /fpga/0/run", "POST /fpga/0/reset", "POST /fpga/0/session/release"}),
        ((), set()),
    ],
)
async def test_a_key_does_what_its_scopes_say(lab: Lab, scopes: tuple[Scope, ...], allowed: set[str]) -> None:
    lab.ledger.add(reserved(), job(1))
    lab.ledger.add_key("scoped", "ada", named_scopes=scopes)
    asked = {
        "GET /jobs": ("GET", "/jobs", None, None),
        "GET /fpga": ("GET", "/fpga", None, None),
        "POST /submit": ("POST", "/submit", None, FILE),
        "DELETE /jobs/1": ("DELETE", f"/jobs/{UUID(int=1)}", None, None),
        "POST /fpga/0/run": ("POST", "/fpga/0/run", RUN, None),
        "POST /fpga/0/reset": ("POST", "/fpga/0/reset", None, None),
        "POST /fpga/0/session/release": ("POST", "/fpga/0/session/release", None, None),
    }
    async with lab.client("scoped") as client:
        for name, (method, path, body, files) in asked.items():
            answer = await client.request(method, path, json=body, files=files)
            if name in allowed:
                assert answer.status_code < 300, (name, answer.text)
            else:
                assert error_of(answer)[:2] == (403, "scope_missing"), name
        assert (await client.get("/auth/keys/me")).json()["scopes"] == sorted(scopes)


async def test_a_viewer_reads_only(lab: Lab) -> None:
    lab.ledger.add(job(1))
    lab.ledger.add_key("viewer", "ada", Role.VIEWER, named_scopes=(Scope.READ, Scope.SUBMIT))
    async with lab.client("viewer") as viewer:
        assert (await viewer.get(f"/jobs/{UUID(int=1)}")).status_code == 200
        assert error_of(await viewer.post("/submit", files=FILE))[:2] == (403, "scope_missing")
    assert lab.commands.sent == []


async def test_an_admins_key_without_the_scope_is_no_admins(lab: Lab) -> None:
    lab.ledger.add_key("tame", "root", Role.ADMIN, named_scopes=(Scope.READ,))
    async with lab.client("tame") as tame:
        assert error_of(await tame.get("/jobs?owner=ada"))[:2] == (403, "admin_only")
        assert error_of(await tame.get("/auth/keys"))[:2] == (403, "admin_only")


async def test_a_key_expires(lab: Lab) -> None:
    lab.ledger.add_key("brief", "ada", expires_at=lab.clock.at + timedelta(seconds=10))
    async with lab.client("brief") as client:
        assert (await client.get("/jobs")).status_code == 200
        lab.clock.at += timedelta(seconds=10)
        answer = await client.get("/jobs")
        assert error_of(answer)[:2] == (401, "api_key_expired")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_rotation_keeps_the_key_and_the_old_secret_for_a_while(lab: Lab) -> None:
    async with lab.client() as ada, lab.client(None) as client:
        key_id = (await ada.get("/auth/keys/me")).json()["key_id"]
        answer = await ada.post("/api/v1/keys/me/rotate", json={"grace_s": 60})
        assert answer.status_code == 200, answer.text
        secret = answer.json()["api_key"]
        assert lab.last(RotateKey).previous_until == lab.clock.at + timedelta(seconds=60)
        for each in (secret, ADA):
            me = (await client.get("/auth/keys/me", headers={"X-API-Key": each})).json()
            assert (me["key_id"], me["owner"]) == (key_id, "ada")
        lab.clock.at += timedelta(seconds=60)
        assert error_of(await client.get("/jobs", headers={"X-API-Key": ADA}))[:2] == (401, "invalid_api_key")
        assert (await client.get("/jobs", headers={"X-API-Key": secret})).status_code == 200


async def test_every_key_is_on_some_page(lab: Lab) -> None:
    """However many there are: one that is not listed is not found, and so not revoked."""
    ids = {lab.ledger.add_key(f"key {n}", "eve", created_at=T0 + timedelta(seconds=n // 2)).key_id for n in range(1200)}
    lab.ledger.add_key("eves", "eve")
    seen: list[str] = []
    async with lab.client("eves") as eve:
        page = (await eve.get("/api/v1/keys?per_page=500")).json()
        assert (page["total"], page["page"], len(page["keys"])) == (1201, 1, 500)
        second = (await eve.get("/api/v1/keys?per_page=500&page=2")).json()
        seen += [key["key_id"] for key in page["keys"]]
        lab.ledger.add_key("later", "eve", created_at=T0 + timedelta(days=1))
        while page["next_cursor"]:
            page = (await eve.get(f"/api/v1/keys?per_page=500&cursor={page['next_cursor']}")).json()
            seen += [key["key_id"] for key in page["keys"]]
        assert error_of(await eve.get("/api/v1/keys?cursor=WzEsMl0"))[:2] == (422, "invalid_cursor")
    assert [key["key_id"] for key in second["keys"]] == seen[500:1000]
    assert len(seen) == len(set(seen)) == 1201
    assert {str(ident) for ident in ids} <= set(seen)


async def test_a_repeated_rotation_tells_the_same_end_of_the_old_secret(lab: Lab) -> None:
    async with lab.client(**{"Idempotency-Key": "once"}) as ada:
        first = await ada.post("/api/v1/keys/me/rotate", json={"grace_s": 60})
        lab.clock.at += timedelta(seconds=30)
        again = await ada.post("/api/v1/keys/me/rotate", json={"grace_s": 60})
    assert (again.status_code, again.json()) == (200, first.json())


async def test_nobody_grants_more_than_he_has(lab: Lab) -> None:
    lab.ledger.add_key("limited", "ada", named_scopes=(Scope.READ, Scope.RUN), team="red", expires_at=T0 + timedelta(9))
    wishes: list[tuple[dict[str, object], tuple[int, str]]] = [
        ({"owner": "bob"}, (403, "admin_only")),
        ({"owner": "ada"}, (403, "too_much_granted")),
        ({"owner": "ada", "role": "admin", "scopes": ["admin"]}, (403, "too_much_granted")),
        ({"owner": "ada", "scopes": ["read"]}, (403, "too_much_granted")),
        ({"owner": "ada", "scopes": ["read"], "expires_at": "2026-03-04T05:00:00Z"}, (422, "invalid_expiry")),
        (
            {"owner": "ada", "scopes": ["read"], "expires_at": "2026-03-05T00:00:00Z", "team": "blue"},
            (403, "too_much_granted"),
        ),
        ({"owner": "ada", "scopes": ["read"], "expires_at": "2026-03-05T00:00:00"}, (422, "validation_error")),
    ]
    async with lab.client("limited") as client:
        for body, expected in wishes:
            assert error_of(await client.post("/auth/keys", json=body))[:2] == expected, body
        assert lab.commands.sent == []
        good = {"owner": "ada", "scopes": ["read"], "expires_at": "2026-03-05T00:00:00Z", "team": "red"}
        answer = await client.post("/auth/keys", json=good)
        assert answer.status_code == 201, answer.text
        assert answer.json()["scopes"] == ["read"]
    issued = lab.last(IssueKey)
    assert (issued.scopes, issued.team) == ((Scope.READ,), "red")


async def test_nobody_takes_over_a_key_that_is_good_for_longer_or_for_a_team(lab: Lab) -> None:
    read = (Scope.READ,)
    lab.ledger.add_key("brief", "ada", named_scopes=read, expires_at=T0 + timedelta(1))
    eternal = lab.ledger.add_key("eternal", "ada", named_scopes=read)
    teams = lab.ledger.add_key("teams", "ada", named_scopes=read, team="red", expires_at=T0 + timedelta(hours=2))
    equal = lab.ledger.add_key("equal", "ada", named_scopes=read, expires_at=T0 + timedelta(1))
    async with lab.client("brief") as brief:
        for key, field in ((eternal, "expires_at"), (teams, "team")):
            answer = await brief.post(f"/api/v1/keys/{key.key_id}/rotate")
            assert error_of(answer)[:2] == (403, "too_much_granted")
            assert answer.json()["error"]["details"]["field"] == field
        assert lab.commands.sent == []
        for ident in (equal.key_id, "me"):
            assert (await brief.post(f"/api/v1/keys/{ident}/rotate")).status_code == 200


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("2222-12-03T12:35:26+20:19", "2222-12-02T16:16:26+00:00"),  # Postgres refuses such an offset
        ("9999-12-31T23:59:59-23:00", None),
        ("2222-12-03T12:35:26Z", "2222-12-03T12:35:26+00:00"),
    ],
)
async def test_moments_are_kept_in_utc(lab: Lab, text: str, stored: str | None) -> None:
    async with lab.client() as ada:
        answer = await ada.post("/auth/keys", json={"owner": "ada", "expires_at": text})
        if stored is None:
            assert error_of(answer)[:2] == (422, "validation_error")
        else:
            assert lab.last(IssueKey).expires_at.isoformat() == stored


async def test_members_see_and_revoke_their_own_keys_only(lab: Lab) -> None:
    second = lab.ledger.add_key("second", "ada", named_scopes=(Scope.READ,))
    bobs = (await lab.ledger.keys(KeyFilter(owner="bob", limit=9)))[0].key_id
    async with lab.client() as ada, lab.client("second") as narrow:
        listed = (await ada.get("/api/v1/keys")).json()["keys"]
        assert {k["owner"] for k in listed} == {"ada"}
        assert error_of(await ada.get(f"/api/v1/keys/{bobs}"))[:2] == (404, "key_not_found")
        assert error_of(await ada.delete(f"/api/v1/keys/{bobs}"))[:2] == (403, "admin_only")
        own = (await ada.get("/auth/keys/me")).json()["key_id"]
        assert error_of(await narrow.delete(f"/api/v1/keys/{own}"))[:2] == (403, "admin_only")
        assert error_of(await narrow.post(f"/api/v1/keys/{own}/rotate"))[:2] == (403, "admin_only")
        assert (await ada.delete(f"/api/v1/keys/{second.key_id}")).status_code == 204
    assert lab.last(RevokeKey).key_id == second.key_id


async def test_a_team_reads_each_others_jobs_and_no_more(lab: Lab) -> None:
    lab.ledger.add(job(1, owner="ada"), reserved(owner="ada"))
    lab.ledger.add_key("ada-red", "ada", team="red")
    lab.ledger.add_key("cy-red", "cy", team="red")
    async with lab.client("cy-red") as mate, lab.client(BOB) as stranger:
        assert (await mate.get(f"/jobs/{UUID(int=1)}")).status_code == 200
        assert len((await mate.get("/jobs?owner=ada")).json()) == 1
        assert error_of(await mate.get("/jobs?owner=*"))[:2] == (403, "admin_only")
        assert error_of(await mate.post("/fpga/0/run", json=RUN))[:2] == (403, "not_your_session")
        assert error_of(await stranger.get(f"/jobs/{UUID(int=1)}"))[:2] == (403, "not_your_job")
        assert error_of(await stranger.get("/jobs?owner=ada"))[:2] == (403, "admin_only")


async def test_the_last_use_is_written_now_and_then(lab: Lab) -> None:
    async with lab.client() as ada:
        for _ in range(20):
            await ada.get("/jobs")
        key_id = UUID((await ada.get("/auth/keys/me")).json()["key_id"])
        assert lab.shared.used == {}
        await lab.services.usage.write()
        assert lab.shared.used == {key_id: lab.clock.at}
        assert lab.commands.sent == []
        lab.shared.is_down = True
        lab.clock.at += timedelta(minutes=1)
        await ada.get("/jobs")
        await lab.services.usage.write()
        lab.shared.is_down = False
        await lab.services.usage.write()
        assert lab.shared.used == {key_id: lab.clock.at}


async def test_guessing_is_slowed_down_without_locking_others_out() -> None:
    lab = Lab(failed_attempts_max=3)
    async with lab.client() as ada, lab.client(None) as guesser:
        assert (await ada.get("/jobs")).status_code == 200
        for number in range(3):
            headers = {"X-API-Key": f"guess-{number}"}
            assert error_of(await guesser.get("/jobs", headers=headers))[:2] == (401, "invalid_api_key")
        looks = lab.ledger.key_looks
        answer = await guesser.get("/jobs", headers={"X-API-Key": BOB})
        assert error_of(answer)[:2] == (429, "too_many_attempts")
        assert int(answer.headers["Retry-After"]) == 60
        assert lab.ledger.key_looks == looks
        assert (await ada.get("/jobs")).status_code == 200
        lab.clock.seconds += 61
        assert (await guesser.get("/jobs", headers={"X-API-Key": BOB})).status_code == 200


class FakeProvider:
    """Knows two people."""

    def __init__(self) -> None:
        self.is_down = False

    async def whose(self, token: str) -> Identity:
        if self.is_down:
            raise ApiError(Code.LOGIN_UNAVAILABLE, "the identity provider does not work")
        if token not in {"ghp-grace", "ghp-mallory"}:
            raise NotAuthenticated(Code.LOGIN_REFUSED, "the identity provider does not know this token")
        return Identity(login=token.removeprefix("ghp-").capitalize())


async def test_logging_in() -> None:
    provider = FakeProvider()
    lab = Lab(provider, github_logins="grace, hopper", failed_attempts_max=2)
    again = {"Idempotency-Key": "once"}
    async with lab.client(None) as client:
        body = {"github_token": "ghp-grace"}
        told = (await client.post("/auth/github/exchange", json=body, headers=again)).json()
        assert (told["github_username"], told["owner"]) == ("Grace", "Grace@github")
        assert (await client.post("/auth/github/exchange", json=body, headers=again)).json() == told
        me = (await client.get("/auth/keys/me", headers={"X-API-Key": told["api_key"]})).json()
        assert (me["owner"], me["role"], set(me["scopes"])) == ("Grace@github", "member", ROLE_SCOPES[Role.MEMBER])
        assert me["expires_at"] is not None
        provider.is_down = True
        down = await client.post("/auth/github/exchange", json=body)
        assert error_of(down)[:2] == (503, "login_unavailable")
        assert down.headers["Retry-After"]
        provider.is_down = False
        for token, expected in (("ghp-mallory", (403, "login_not_allowed")), ("x", (401, "login_refused"))):
            answer = await client.post("/auth/github/exchange", json={"github_token": token})
            assert error_of(answer)[:2] == expected
        answer = await client.post("/auth/github/exchange", json=body)
        assert error_of(answer)[:2] == (429, "too_many_attempts")
    assert sum(isinstance(s.body, IssueKey) for s in lab.commands.sent) == 1
    assert "ghp-grace" not in str(lab.commands.sent)
