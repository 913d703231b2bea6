"""The audit routes over a log in memory: forms, pages, following, who sees what."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import httpx
import msgspec
import pytest
from api_fakes import BOB, ROOT, T0, Lab, error_of

from lutlab_api.app import audit as app_audit
from lutlab_api.app.audit import AuditRow, CommandFilter, CommandRow, Letter
from lutlab_api.app.follow import Followed
from lutlab_api.domain.views import Caller
from lutlab_events.queries import TOO_LARGE, StateAnswer, StateQuery
from lutlab_events.values import Role
from lutlab_scheduler.app.projections import project
from lutlab_scheduler.domain.key import Key, KeyState

LETTER = UUID(int=5)
ADMIN = Caller(owner="root", role=Role.ADMIN, key_id=UUID(int=1))


def row(position: int) -> AuditRow:
    return AuditRow(
        position=position,
        event_id=UUID(int=position),
        stream="board-3",
        version=position,
        type="board.reset.v1",
        at=T0 + timedelta(seconds=position),
        actor='ada, "the" first',
        site="main",
        causation_id=UUID(int=1),
        correlation_id=UUID(int=2),
        hash="ab" * 32,
        data={"epoch": position, "text": "ü"},
    )


@pytest.fixture
def full(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab with a log of seven events, in pages of three."""
    monkeypatch.setattr(app_audit, "PAGE_MAX", 3)
    lab.audit.rows = [row(n) for n in range(1, 8)]
    return lab


async def test_a_json_page_says_where_to_go_on(full: Lab, ada: httpx.AsyncClient) -> None:
    page = (await ada.get("/api/v1/audit?limit=3&after=2")).json()
    assert [e["position"] for e in page["events"]] == [3, 4, 5]
    assert page["next_after"] == 5
    assert page["events"][0]["hash"] == "ab" * 32
    assert (await ada.get("/api/v1/audit?after=7")).json() == {"events": [], "next_after": 7}


@pytest.mark.parametrize(
    ("query", "headers"),
    [("?format=jsonl", {}), ("", {"Accept": "application/jsonl"}), ("", {"Accept": "text/html, application/x-ndjson"})],
)
async def test_json_lines_are_the_whole_log(
    full: Lab, ada: httpx.AsyncClient, query: str, headers: dict[str, str]
) -> None:
    answer = await ada.get(f"/api/v1/audit{query}", headers=headers)
    assert answer.headers["content-type"] == "application/jsonl"
    assert [json.loads(line)["position"] for line in answer.text.splitlines()] == [1, 2, 3, 4, 5, 6, 7]


async def test_csv_has_one_header_and_survives_commas(full: Lab, ada: httpx.AsyncClient) -> None:
    answer = await ada.get("/api/v1/audit?format=csv&limit=5")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [r["position"] for r in rows] == ["1", "2", "3", "4", "5"]
    assert rows[0]["actor"] == 'ada, "the" first'
    assert json.loads(rows[4]["data"]) == {"epoch": 5, "text": "ü"}


async def test_every_condition_reaches_the_ledger(full: Lab, ada: httpx.AsyncClient) -> None:
    await ada.get(
        "/api/v1/audit",
        params={
            "after": 1,
            "until": 9,
            "stream": "board-3",
            "type": "board.",
            "actor": "bob",
            "correlation_id": str(UUID(int=2)),
            "since": "2026-01-01T00:00:00Z",
            "before": "2026-02-01T00:00:00+01:00",
        },
    )
    asked = full.audit.asked[-1]
    assert (asked.after, asked.until, asked.stream, asked.type, asked.actor) == (1, 9, "board-3", "board.", "bob")
    assert asked.correlation_id == UUID(int=2)
    assert (asked.since.isoformat(), asked.before.isoformat()) == (
        "2026-01-01T00:00:00+00:00",
        "2026-01-31T23:00:00+00:00",
    )


async def test_members_see_their_own_and_admins_everything(full: Lab, ada: httpx.AsyncClient) -> None:
    await ada.get("/api/v1/audit")
    assert full.audit.asked[-1].visible_to == "ada"
    async with full.client(ROOT) as root:
        await root.get("/api/v1/audit?format=csv")
    assert full.audit.asked[-1].visible_to is None
    async with full.client(None) as nobody:
        assert error_of(await nobody.get("/api/v1/audit"))[:2] == (401, "missing_api_key")


@pytest.mark.parametrize(
    "query",
    [
        "after=-1",
        "since=2026-01-01T00:00:00",
        "format=xml",
        "correlation_id=7",
        "since=0001-01-01T00:00:00%2B05:00",
        "before=9999-12-31T23:59:59-05:00",
    ],
)
async def test_what_makes_no_sense_is_refused(full: Lab, ada: httpx.AsyncClient, query: str) -> None:
    assert error_of(await ada.get(f"/api/v1/audit?{query}"))[:2] == (422, "validation_error")


@pytest.mark.parametrize(
    "path", ["audit?type=%00", "audit?actor=a%00", "events/stream?stream=%00", "commands?code=%00"]
)
async def test_postgres_is_asked_for_no_nul(ada: httpx.AsyncClient, path: str) -> None:
    assert error_of(await ada.get(f"/api/v1/{path}"))[:2] == (422, "validation_error")


async def test_no_events_are_an_empty_answer_in_every_form(full: Lab, ada: httpx.AsyncClient) -> None:
    answers = [await ada.get(f"/api/v1/audit?after=7&format={form}") for form in ("jsonl", "csv")]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].text == "" and answers[1].text.startswith("position,") and answers[1].text.count("\n") == 1


async def test_a_database_that_is_away_is_a_503_in_every_form(full: Lab, ada: httpx.AsyncClient) -> None:
    full.audit.is_down = True
    for form in ("json", "jsonl", "csv"):
        assert error_of(await ada.get(f"/api/v1/audit?format={form}"))[0] == 503


async def test_the_past_is_asked_by_position_or_moment(full: Lab, ada: httpx.AsyncClient) -> None:
    full.log_source.events = [Followed(row(position), None) for position in range(1, 8)]
    full.audit.states["board-3"] = StateAnswer(
        stream="board-3", state={"state": "idle"}, view={}, events=2, position=4, event_type="board.reset.v1", at=T0
    )
    told = (await ada.get("/api/v1/audit/state/board-3?at=4")).json()
    assert (told["state"], told["position"], told["events"]) == ({"state": "idle"}, 4, 2)
    assert full.audit.asked[-1] == StateQuery(stream="board-3", position=4)
    await ada.get(f"/api/v1/audit/state/board-3?at={T0.isoformat()}")  # its `+` not escaped
    assert full.audit.asked[-1] == StateQuery(stream="board-3", at=T0)
    await ada.get("/api/v1/audit/state/board-3")
    assert full.audit.asked[-1] == StateQuery(stream="board-3")
    for at in ("noon", "0001-01-01T00:00:00%2B05:00"):
        assert error_of(await ada.get(f"/api/v1/audit/state/board-3?at={at}"))[:2] == (422, "validation_error")
    assert error_of(await ada.get(f"/api/v1/audit/state/board-3?at={'9' * 5000}"))[:2] == (404, "not_found")
    for path in (
        "audit/state/board-%00",
        "audit/state/board-3?at=9999-12-31T23:59:59-14:00",
        "audit?since=0001-01-01T00:00:00%2B14:00",
        "commands?before=0001-01-01T00:00:00%2B14:00",
    ):
        assert error_of(await ada.get(f"/api/v1/{path}"))[:2] == (422, "validation_error"), path
    assert error_of(await ada.get("/api/v1/audit/state/board-9"))[:2] == (404, "not_found")
    told = error_of(await ada.get("/api/v1/audit/state/board-3?at=8"))
    assert told == (404, "not_found", "the log ends at position 7: nothing has happened at 8 yet")
    assert error_of(await ada.get("/api/v1/audit/state/key-1"))[:2] == (403, "admin_only")


async def test_a_state_that_no_message_holds_names_the_way_out(full: Lab) -> None:
    told = "the state of project-1 has 9 bytes"
    full.audit.states["project-1"] = StateAnswer(stream="project-1", error=told, code=TOO_LARGE)
    async with full.client(ROOT) as root:
        status, code, message = error_of(await root.get("/api/v1/audit/state/project-1"))
    assert (status, code) == (422, "answer_too_large")
    assert message.startswith(told) and "GET /api/v1/audit?stream=project-1" in message


async def test_jobs_of_others_and_digests_of_keys_are_not_told(full: Lab, ada: httpx.AsyncClient) -> None:
    more = {"events": 1, "position": 4, "event_type": "x.y.v1", "at": T0, "view": {"key_sha256": "d"}}
    full.audit.states["job-1"] = StateAnswer(stream="job-1", state={"owner": "ada"}, **more)
    full.audit.states["key-1"] = StateAnswer(stream="key-1", state={"key_sha256": "d", "owner": "x"}, **more)
    assert (await ada.get("/api/v1/audit/state/job-1")).status_code == 200
    async with full.client(BOB) as bob:
        assert error_of(await bob.get("/api/v1/audit/state/job-1"))[:2] == (403, "not_your_job")
    now, before = "d" * 64, "e" * 64
    key = Key(
        key_id=UUID(int=2), key_sha256=now, owner="x", role=Role.MEMBER, label="", state=KeyState.VALID, created_at=T0,
        version=2, digests=(before, now),
    )  # fmt: skip
    real = more | {"state": msgspec.to_builtins(key), "view": msgspec.to_builtins(project(key).values)}
    full.audit.states["key-2"] = StateAnswer(stream="key-2", **real)
    async with full.client(ROOT) as root:
        told = (await root.get("/api/v1/audit/state/key-1")).json()
        rotated = (await root.get("/api/v1/audit/state/key-2")).text
    assert (told["state"], told["view"]) == ({"owner": "x"}, {})
    assert '"owner":"x"' in rotated
    assert now not in rotated and before not in rotated, "the one before its rotation may still be good"


async def test_refusals_can_be_listed(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.audit.command_rows = [
        CommandRow(
            command_id=UUID(int=3),
            type="CancelJob",
            actor="ada",
            site="main",
            code="not_your_job",
            message="it is bob's",
            position=None,
            received_at=T0,
        )
    ]
    told = (await ada.get("/api/v1/commands?code=not_your_job&rejected=true")).json()
    assert (told[0]["code"], told[0]["message"]) == ("not_your_job", "it is bob's")
    assert lab.audit.asked[-1] == CommandFilter(limit=100, code="not_your_job", actor="ada", rejected=True)
    assert error_of(await ada.get("/api/v1/commands?actor=bob"))[:2] == (403, "admin_only")
    async with lab.client(ROOT) as root:
        await root.get("/api/v1/commands?actor=bob")
    assert lab.audit.asked[-1] == CommandFilter(limit=100, actor="bob")


async def test_dead_letters_are_listed_and_replayed_by_admins(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.audit.kept[LETTER] = Letter(
        letter_id=LETTER, origin="COMMANDS", subject="cmd.main.X", reason="why", data=b"\xff{", arrived_at=T0
    )
    lost = UUID(int=6)
    lab.audit.kept[lost] = Letter(letter_id=lost, origin="WORK", subject="", reason="why", data=b"text", arrived_at=T0)
    for request in (ada.get("/api/v1/deadletters"), ada.post(f"/api/v1/deadletters/{LETTER}/replay")):
        assert error_of(await request)[:2] == (403, "admin_only")
    async with lab.client(ROOT) as root:
        first, second = (await root.get("/api/v1/deadletters")).json()
        assert (first["text"], first["base64"], second["text"]) == (None, "/3s=", "text")
        lab.audit.is_mute = True
        assert error_of(await root.post(f"/api/v1/deadletters/{LETTER}/replay"))[0] == 503
        assert len((await root.get("/api/v1/deadletters")).json()) == 2, "what was not sent is still there"
        lab.audit.is_mute = False
        told = (await root.post(f"/api/v1/deadletters/{LETTER}/replay")).json()
        assert (told["replayed_by"], lab.audit.posted) == ("root", [LETTER])
        assert [x["letter_id"] for x in (await root.get("/api/v1/deadletters")).json()] == [str(lost)]
        assert len((await root.get("/api/v1/deadletters?replayed=true")).json()) == 2
        assert error_of(await root.post(f"/api/v1/deadletters/{lost}/replay"))[0] == 422
        # Whoever set it aside wrote the subject: builders and agents may not have a command sent that way.
        lab.audit.kept[lost] = replace(lab.audit.kept[lost], subject="cmd.main.IssueKey")
        assert "is not sent" in error_of(await root.post(f"/api/v1/deadletters/{lost}/replay"))[2]
        lab.audit.kept[lost] = replace(lab.audit.kept[lost], subject="work.main.build")
        assert (await root.post(f"/api/v1/deadletters/{lost}/replay")).status_code == 200
        assert error_of(await root.post(f"/api/v1/deadletters/{UUID(int=7)}/replay"))[0] == 404
