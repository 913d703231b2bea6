"""Addresses that are called or refused, secrets and signatures, and what events mean to subscribers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from lutlab_events.webhooks import Topic, WebhookFilter
from lutlab_hooks.addresses import UrlRefused, check_address, check_url, networks
from lutlab_hooks.secrets import BoxUnopened, SecretRefused, Vault, check_secret, signatures, spelled
from lutlab_webhooks.domain.happenings import BODY_BYTES_MAX, Recorded, body_of, happenings, is_wanted
from lutlab_webhooks.domain.schedule import ATTEMPTS_MAX, RETRY_AFTER_MAX, next_attempt, parse_retry_after

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
HOOK = UUID(int=1)
JOB = UUID(int=7)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "64:ff9b:1::7f00:1",
        "::7f00:1",
        "fec0::1",
        "ff02::1",
        "nonsense",
    ],
)
def test_addresses_that_are_not_called(address: str) -> None:
    with pytest.raises(UrlRefused):
        check_address(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_addresses_that_are_called(address: str) -> None:
    check_address(address)


def test_an_operator_allows_a_network_and_no_more() -> None:
    allowed = networks("127.0.0.0/8, fd00::/8")
    check_address("127.0.0.1", allowed)
    check_address("::ffff:127.0.0.1", allowed)
    check_address("fd00::1", allowed)
    with pytest.raises(UrlRefused):
        check_address("10.0.0.1", allowed)
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8"):
        networks("10.0.0.1/8")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "https://user:pass@example.com/",
        "https://example.com/#part",
        "https:///events",
        "http://localhost/x",
        "http://127.0.0.1:8000/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://127.1/",
        "https://example.com:99999/",
        "https://exa mple.com/",
        "https://example.com/\n",
        "https://example.com/" + "a" * 3000,
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(UrlRefused):
        check_url(url)


def test_urls_that_are_taken() -> None:
    assert check_url("https://your-server.com/openforge-events?a=1") == "https://your-server.com/openforge-events?a=1"
    check_url("http://127.0.0.1:9/", networks("127.0.0.0/8"))


def test_secrets() -> None:
    check_secret("your-webhook-secret")  # the contract's example
    with pytest.raises(SecretRefused, match="16 to 128 bytes; this one has 15"):
        check_secret("fifteen bytes..")
    with pytest.raises(SecretRefused, match="24 to 128 bytes; this one has 23"):
        check_secret("whsec_" + base64.b64encode(bytes(23)).decode())
    with pytest.raises(SecretRefused, match="base64"):
        check_secret("whsec_not base64 at all, whatever its length")
    check_secret(spelled(bytes(32)))
    check_secret("sixteen bytes...")


def test_a_sealed_secret_opens_for_its_endpoint_and_key_only() -> None:
    vault = Vault("the operator's key")
    box = vault.seal(HOOK, "some secret", bytes(24))
    assert "some secret" not in box
    assert vault.open(HOOK, box) == "some secret"
    for other, hook in ((Vault("another key"), HOOK), (vault, UUID(int=2))):
        with pytest.raises(BoxUnopened):
            other.open(hook, box)


def test_signatures_are_those_of_the_two_schemes() -> None:
    key, old = bytes(range(32)), "the one before the rotation"
    headers = signatures("msg-1", 1700000000, b'{"a":1}', [spelled(key), old])
    new_v1, old_v1 = headers["webhook-signature"].split(" ")
    content = b'msg-1.1700000000.{"a":1}'
    assert new_v1 == "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    assert old_v1 == "v1," + base64.b64encode(hmac.new(old.encode(), content, hashlib.sha256).digest()).decode()
    plain = hmac.new(spelled(key).encode(), b'{"a":1}', hashlib.sha256).hexdigest()
    assert headers["X-OpenForge-Signature"] == f"sha256={plain}"
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("msg-1", "1700000000")


def test_the_schedule_lasts_three_days_and_listens_to_retry_after() -> None:
    now, waited = NOW, []
    for attempts in range(1, ATTEMPTS_MAX):
        at = next_attempt(attempts, now, 0.0, None)
        assert at is not None
        waited.append(at - now)
        now = at
    assert next_attempt(ATTEMPTS_MAX, now, 0.0, None) is None
    assert timedelta(hours=75) < now - NOW < timedelta(hours=76)
    assert waited == sorted(waited)
    assert next_attempt(1, NOW, 1.0, None) == NOW + timedelta(seconds=5.5)
    assert next_attempt(1, NOW, 0.0, timedelta(seconds=60)) == NOW + timedelta(seconds=60)
    assert next_attempt(2, NOW, 0.0, timedelta(seconds=60)) == NOW + timedelta(seconds=300)
    assert next_attempt(1, NOW, 0.0, timedelta(days=9)) == NOW + RETRY_AFTER_MAX
    assert parse_retry_after("120", NOW) == timedelta(seconds=120)
    assert parse_retry_after("Wed, 04 Mar 2026 05:07:07 GMT", NOW) == timedelta(seconds=60)
    for text in (None, "", "soon", "-1", "9" * 400):
        assert parse_retry_after(text, NOW) in (None, RETRY_AFTER_MAX)


def event(kind: str, version: int = 3, **more: Any) -> Recorded:
    values: dict[str, Any] = {
        "position": 42,
        "stream": f"job-{JOB}",
        "version": version,
        "type": kind,
        "at": NOW,
        "correlation_id": UUID(int=9),
        "data": {},
        "owner": "ada",
        "job_type": "build_and_program",
        "fpga_id": 3,
    }
    return Recorded(**{**values, **more})


@pytest.mark.parametrize(
    ("recorded", "topics"),
    [
        (event("job.submitted.v1", 1), ["job.queued"]),
        (event("job.build_started.v1", 2), ["job.started"]),
        (event("job.build_started.v1", 5), []),
        (event("job.build_stage_entered.v1"), []),
        (event("job.build_stage_entered.v1", previous_stage="elaborate"), ["stage.completed"]),
        (event("job.build_succeeded.v1", 2), ["job.started"]),
        (event("job.build_succeeded.v1", 7, previous_stage="pack"), ["stage.completed"]),
        (event("job.board_assigned.v1", 2), ["job.started"]),
        (event("job.completed.v1"), ["job.completed"]),
        (event("job.failed.v1", 2), ["job.failed"]),
        (event("job.cancelled.v1", 2), ["job.cancelled"]),
        (event("job.run_recorded.v1", 1), ["run.completed"]),
        (event("job.run_recorded.v1", 1, data={"failure": {"code": "x", "message": "y"}}), ["run.failed"]),
        (event("board.programmed.v1", stream="board-3"), ["session.started"]),
        (event("board.session_ended.v1", stream="board-3"), ["session.ended"]),
        (event("board.lost.v1", stream="board-3"), ["board.lost"]),
        (event("board.session_renewed.v1", stream="board-3"), []),
        (event("key.issued.v1", stream="key-1"), []),
        (event("job.of_the_future.v9"), []),
    ],
)
def test_what_events_mean(recorded: Recorded, topics: list[str]) -> None:
    assert [h.topic.value for h in happenings(recorded)] == topics


def test_filters() -> None:
    (failed,) = happenings(event("job.failed.v1"))
    every = tuple(Topic)
    assert is_wanted(failed, WebhookFilter(topics=every), "ada")
    assert not is_wanted(failed, WebhookFilter(topics=every), "eve")
    assert is_wanted(failed, WebhookFilter(topics=every, everyone=True), "eve")
    assert not is_wanted(failed, WebhookFilter(topics=(Topic.JOB_COMPLETED,)), "ada")
    assert is_wanted(failed, WebhookFilter(topics=every, fpga_id=3), "ada")
    assert not is_wanted(failed, WebhookFilter(topics=every, fpga_id=0), "ada")
    assert not is_wanted(failed, WebhookFilter(topics=every, project_id="p"), "ada")
    shown = f"proj_{UUID(int=5).hex}"
    failure = {"code": "verification_failed", "message": "lint: failed", "summary": {"tests_failed": 1}}
    (of_project,) = happenings(verification_event("verification.failed.v1", failure))
    assert is_wanted(of_project, WebhookFilter(topics=every, project_id=shown), "ada")
    assert not is_wanted(of_project, WebhookFilter(topics=every, project_id="proj_other"), "ada")


def verification_event(kind: str, data: dict[str, Any]) -> Recorded:
    return event(kind, data=data, stream=f"verification-{JOB}", project=UUID(int=5), job_type="verification")


@pytest.mark.parametrize(
    ("kind", "data", "told"),
    [
        ("verification.submitted.v1", {"stages": ["lint"], "seed": 7}, ("job.queued", "queued")),
        ("verification.started.v1", {"builder_id": "b"}, ("job.started", "running")),
        (
            "verification.stage_completed.v1",
            {"stage": "lint", "outcome": {"status": "failed", "summary": {"errors": 1}, "reason": "no"}},
            ("stage.completed", "failed"),
        ),
        ("verification.completed.v1", {"summary": {"tests_passed": 10}}, ("job.completed", "passed")),
        ("verification.failed.v1", {"code": "c", "message": "m", "summary": {}}, ("job.failed", "failed")),
        ("verification.cancelled.v1", {"by": "ada"}, ("job.cancelled", "cancelled")),
    ],
)
def test_verification_jobs_are_told_as_the_contract_says(
    kind: str, data: dict[str, Any], told: tuple[str, str]
) -> None:
    (happening,) = happenings(verification_event(kind, data))
    body = json.loads(body_of(happening, UUID(int=5)))
    assert (body["event"], body["status"]) == told
    assert (body["job_id"], body["project_id"]) == (f"job_{JOB.hex}", f"proj_{UUID(int=5).hex}")
    assert isinstance(body["summary"], dict)


def test_summaries_of_verification_are_the_contracts() -> None:
    passed = verification_event("verification.completed.v1", {"summary": {"tests_passed": 10, "properties_proven": 4}})
    (happening,) = happenings(passed)
    assert happening.summary == {"tests_passed": 10, "properties_proven": 4}
    outcome = {"status": "passed", "summary": {"warnings": 2, "coverage": {"line": 96.4}, "long": "x" * 999}}
    (stage,) = happenings(verification_event("verification.stage_completed.v1", {"stage": "lint", "outcome": outcome}))
    assert stage.summary == {"stage": "lint", "seconds": None, "warnings": 2, "coverage": {"line": 96.4}}
    assert not list(happenings(verification_event("verification.stage_started.v1", {})))


def test_a_payload_has_the_contracts_fields_and_is_never_too_long() -> None:
    (failed,) = happenings(event("job.failed.v1", data={"code": "synthesis_failed", "message": "\u1234" * 9000}))
    body = body_of(failed, UUID(int=5))
    told = json.loads(body)
    assert len(body.encode()) <= BODY_BYTES_MAX
    assert told["summary"] == {"truncated": True}
    assert (told["event"], told["job_id"], told["status"]) == ("job.failed", str(JOB), "failed")
    assert (told["timestamp"], told["position"], told["project_id"]) == ("2026-03-04T05:06:07Z", 42, None)
    (short,) = happenings(event("job.failed.v1", data={"code": "c", "message": "m", "report": {"secret": 1}}))
    assert json.loads(body_of(short, UUID(int=5)))["summary"] == {"code": "c", "message": "m"}
