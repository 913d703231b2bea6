"""Webhook routes over fakes: what is refused, what is asked of the scheduler, and that secrets are shown once."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from api_fakes import ADA, BOB, ROOT, Lab, error_of

from lutlab_api.app.webhooks import WebhookView
from lutlab_events import webhooks as w
from lutlab_hooks.secrets import Vault

KEY = "the operator's own key"
NEW = {"url": "https://your-server.com/openforge-events", "events": ["job.completed", "job.failed"]}


def reason_of(answer: httpx.Response) -> tuple[int, str]:
    """Status, and our own code of an error in the contract's form."""
    assert error_of(answer)[1].isupper()
    return answer.status_code, answer.json()["error"]["details"]["reason"]


@pytest.fixture
def lab() -> Lab:
    return Lab(webhooks_key=KEY)


def own(lab: Lab, owner: str = "ada", **more: Any) -> UUID:
    """An endpoint that is registered already."""
    ident = uuid4()
    values: dict[str, Any] = {
        "webhook_id": ident,
        "owner": owner,
        "url": NEW["url"],
        "topics": ("job.failed",),
        "everyone": False,
        "project_id": None,
        "fpga_id": None,
        "ordered": False,
        "description": "",
        "state": "active",
        "code": None,
        "message": None,
        "created_at": lab.clock.now(),
        "position": 40,
        "pending": 0,
        "failing_since": None,
    }
    lab.hooks.endpoints[ident] = WebhookView(**{**values, **more})
    return ident


async def test_registering_as_in_the_seed(lab: Lab) -> None:
    secret = "your-webhook-secret"
    project = {"name": "ntt-butterfly", "top_module": "ntt_butterfly", "target_pdk": "sky130"}
    async with lab.client(ADA) as client:
        project_id = (await client.post("/api/v1/projects", json=project)).json()["id"]
        answer = await client.post("/api/v1/webhooks", json={**NEW, "secret": secret, "project_id": project_id})
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert (told["url"], told["events"], told["active"]) == (NEW["url"], NEW["events"], True)
    command = lab.last(w.RegisterWebhook)
    assert str(command.webhook_id) == told["webhook_id"]
    assert command.wanted == w.WebhookFilter(topics=(w.Topic.JOB_COMPLETED, w.Topic.JOB_FAILED), project_id=project_id)
    assert secret not in str(command)
    assert Vault(KEY).open(command.webhook_id, command.secret_box) == secret == told["secret"]


async def test_a_project_that_is_not_there_is_no_filter(lab: Lab) -> None:
    """Nothing would ever be delivered."""
    project = {"name": "secret", "top_module": "top", "target_pdk": "sky130"}
    async with lab.client(ADA) as client, lab.client(BOB) as bob:
        theirs = (await bob.post("/api/v1/projects", json=project)).json()["id"]
        for project_id, problem in (("proj_abc123", (404, "project_not_found")), (theirs, (403, "not_your_project"))):
            answer = await client.post("/api/v1/webhooks", json={**NEW, "project_id": project_id})
            assert reason_of(answer) == problem
        async with lab.client(ROOT) as root:
            for wish, status in (({}, 403), ({"everyone": True}, 201)):
                assert not any(isinstance(sent.body, w.RegisterWebhook) for sent in lab.commands.sent)
                answer = await root.post("/api/v1/webhooks", json={**NEW, **wish, "project_id": theirs})
                assert answer.status_code == status, answer.text


async def test_a_repeated_registration_shows_the_same_secret(lab: Lab) -> None:
    headers = {"Idempotency-Key": "once"}
    async with lab.client(ADA) as client:
        first, again = [await client.post("/api/v1/webhooks", json=NEW, headers=headers) for _ in range(2)]
        other = await client.post("/api/v1/webhooks", json=NEW)
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json() != other.json()
    assert first.json()["secret"].startswith("whsec_")
    # Another key of the same owner would be shown a secret that nothing is signed with.
    lab.ledger.add_key("another key of hers", "ada")
    async with lab.client("another key of hers") as client:
        rotate = f"/api/v1/webhooks/{first.json()['webhook_id']}/rotate"
        assert reason_of(await client.post("/api/v1/webhooks", json=NEW, headers=headers)) == (
            409,
            "idempotency_mismatch",
        )
        assert (await client.post(rotate, headers={"Idempotency-Key": "twice"})).status_code == 200
    async with lab.client(ADA) as client:
        answer = await client.post(rotate, headers={"Idempotency-Key": "twice"})
    assert reason_of(answer) == (409, "idempotency_mismatch")


@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        ({"secret": "fifteen bytes.."}, 400, "invalid_secret", "secret"),
        ({"url": "http://169.254.169.254/latest"}, 400, "invalid_url", "url"),
        ({"url": "http://localhost:8000/"}, 400, "invalid_url", "url"),
        ({"events": []}, 400, "validation_error", "events"),
        ({"events": ["job.complete"]}, 400, "validation_error", "events.0"),
        ({"everyone": True}, 403, "admin_only", None),
        ({"evnts": ["job.failed"]}, 400, "validation_error", "evnts"),
    ],
)
async def test_what_is_refused(lab: Lab, change: dict[str, Any], status: int, code: str, field: str | None) -> None:
    """In the contract's codes, as webhooks are part of it; ours are the reason."""
    async with lab.client(ADA) as client:
        answer = await client.post("/api/v1/webhooks", json={**NEW, **change})
    assert reason_of(answer) == (status, code)
    assert answer.json()["error"]["code"] == ("VALIDATION_ERROR" if status == 400 else "FORBIDDEN")
    assert answer.json()["error"]["details"].get("field") == field
    if field == "events.0":
        assert answer.json()["error"]["details"]["suggestion"] == "job.completed"
    assert not lab.commands.sent


async def test_without_a_key_the_lab_delivers_nothing() -> None:
    async with Lab().client(ADA) as client:
        assert reason_of(await client.post("/api/v1/webhooks", json=NEW)) == (503, "webhooks_unavailable")


async def test_nobody_sees_or_touches_another_owners(lab: Lab) -> None:
    ident = own(lab)
    async with lab.client(BOB) as bob, lab.client(ROOT) as root, lab.client(ADA) as ada:
        assert (await bob.get("/api/v1/webhooks")).json()["webhooks"] == []
        assert len((await ada.get("/api/v1/webhooks")).json()["webhooks"]) == 1
        assert len((await root.get("/api/v1/webhooks")).json()["webhooks"]) == 1
        for method, path in (
            ("GET", ""),
            ("POST", "/ping"),
            ("GET", "/deliveries"),
            ("GET", f"/deliveries/{uuid4()}"),
            ("POST", f"/deliveries/{uuid4()}/redeliver"),
        ):
            answer = await bob.request(method, f"/api/v1/webhooks/{ident}{path}")
            assert reason_of(answer) == (404, "webhook_not_found"), path
        answer = await bob.post(f"/api/v1/webhooks/{ident}/replay", json={"after": 0})
        assert reason_of(answer) == (404, "webhook_not_found")
        assert "secret" not in (await ada.get(f"/api/v1/webhooks/{ident}")).text
        await bob.delete(f"/api/v1/webhooks/{ident}")
        assert lab.last(w.DeleteWebhook) == w.DeleteWebhook(webhook_id=ident, owner="bob")  # which is refused
        await root.delete(f"/api/v1/webhooks/{ident}")
        assert lab.last(w.DeleteWebhook).is_admin


async def test_ping_replay_and_rotation(lab: Lab) -> None:
    ident = own(lab)
    async with lab.client(ADA) as client:
        ping = await client.post(f"/api/v1/webhooks/{ident}/ping")
        assert ping.status_code == 202
        ((sent, body),) = lab.hooks.sent
        assert str(sent) == ping.json()["delivery_id"]
        assert '"event":"ping"' in body
        assert (await client.post(f"/api/v1/webhooks/{ident}/replay", json={"after": 3})).status_code == 202
        assert lab.hooks.replayed == [(ident, 3, 40)]
        empty = await client.post(f"/api/v1/webhooks/{ident}/replay", json={"after": 40})
        assert reason_of(empty) == (400, "invalid_range")
        rotated = await client.post(f"/api/v1/webhooks/{ident}/rotate")
        command = lab.last(w.RotateWebhookSecret)
        assert Vault(KEY).open(ident, command.secret_box) == rotated.json()["secret"]
        assert reason_of(await client.get(f"/api/v1/webhooks/{ident}/deliveries/x")) == (404, "delivery_not_found")
        assert reason_of(await client.get("/api/v1/webhooks/x")) == (404, "webhook_not_found")
