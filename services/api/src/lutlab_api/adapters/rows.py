"""Rows of the ledger's views as values of the API."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

from lutlab_api.domain.views import (
    ADDRESS_WORDS_DEFAULT,
    AgentView,
    BoardView,
    EventView,
    Failure,
    JobDetail,
    JobView,
    KeyView,
    SessionView,
    StoredAnswer,
)
from lutlab_events.codec import decode_answer
from lutlab_events.values import BoardState, JobStatus, JobType, Role, Scope


class Row(Protocol):
    """A row with its columns by name: `asyncpg.Record`, or a dictionary in a test."""

    def __getitem__(self, name: str, /) -> Any:
        """A column."""
        ...


BOARDS = """select fpga_id, state, profile, agent_id, epoch, labels, owner, session_id, session_created_at,
    session_expires_at, current_job_id, current_job_created_at, bitstream, error_code, error_message, service,
    service_reason, updated_at from boards"""

KNOWN = " where service is distinct from 'removed'"
"""Boards that were not forgotten."""

JOBS = """select job_id, number, type, status, owner, fpga_id, pinned_fpga_id, profile, build_stage, result,
    bitstream is not null as built, error_code, error_message, error_stage, created_at, updated_at from jobs"""

KEYS = """select k.*, u.last_used_at from api_keys k left join key_usage u on u.key_id = k.key_id"""

HIDDEN_FIELDS = frozenset({"key_sha256", "secret_box"})
"""Never shown, not even to admins: the digest of a weak key could be searched for."""


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _failure(row: Row, stage: str | None = None) -> Failure | None:
    if row["error_code"] is None:
        return None
    return Failure(code=row["error_code"], message=row["error_message"] or "", stage=stage)


def _absence(row: Row) -> Failure | None:
    """Why a board is out of service, told where its failures are told."""
    if row["service"] is None:
        return None
    code = "board_removed" if row["service"] == "removed" else f"board_in_{row['service']}"
    return Failure(code=code, message=row["service_reason"] or "")


def _waiting(row: Row) -> Failure | None:
    """Why a board cannot be reset yet: nobody has built what it is reset with."""
    if row["state"] != BoardState.RESETTING or row["bitstream"] is not None:
        return None
    what = f"no builder has built the base design of {row['profile']} yet"
    message = f"{what}; a builder does so if its LUTLAB_BUILDER_PROFILES names the profile"
    return Failure(code="base_design_missing", message=message)


def board(row: Row) -> BoardView:
    """A row of `boards`."""
    bitstream = _json(row["bitstream"]) or {}
    return BoardView(
        fpga_id=row["fpga_id"],
        state=BoardState(row["state"]),
        profile=row["profile"],
        agent_id=row["agent_id"],
        epoch=row["epoch"],
        labels=tuple(_json(row["labels"]) or ()),
        owner=row["owner"],
        session=_session(row),
        current_job_id=row["current_job_id"],
        current_job_created_at=row["current_job_created_at"],
        address_words=bitstream.get("address_words", ADDRESS_WORDS_DEFAULT),
        error=_failure(row) or _absence(row) or _waiting(row),
        is_away=row["service"] is not None,
        updated_at=row["updated_at"],
    )


def _session(row: Row) -> SessionView | None:
    """The session, once it has begun: while a board is being programmed it has an id but no time yet."""
    if row["session_id"] is None or row["session_expires_at"] is None or row["session_created_at"] is None:
        return None
    return SessionView(
        session_id=row["session_id"],
        fpga_id=row["fpga_id"],
        owner=row["owner"] or "",
        created_at=row["session_created_at"],
        expires_at=row["session_expires_at"],
    )


def job(row: Row, built: bool | None = None) -> JobView:
    """A row of `JOBS`."""
    return JobView(
        job_id=row["job_id"],
        number=row["number"],
        type=JobType(row["type"]),
        status=JobStatus(row["status"]),
        owner=row["owner"],
        assigned_fpga_id=row["fpga_id"],
        pinned_fpga_id=row["pinned_fpga_id"],
        profile=row["profile"],
        stage=row["build_stage"],
        built=row["built"] if built is None else built,
        failure=_failure(row, row["error_stage"]),
        result=_json(row["result"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def job_detail(row: Row) -> JobDetail:
    """A whole row of `jobs`."""
    return JobDetail(
        job=job(row, row["bitstream"] is not None),
        attempt=row["attempt"],
        source_digest=row["source_digest"],
        filename=row["filename"],
        top=row["top"],
        sys_clk_hz=row["sys_clk_hz"],
        timing_target_mhz=row["timing_target_mhz"],
        bitstream=_json(row["bitstream"]),
        report=_json(row["report"]),
        cached=row["cached"],
        correlation_id=row["correlation_id"],
    )


def log_text(pieces: Sequence[Row], chars_max: int) -> str:
    """A job's log; the attempts of a build that was started over are set apart, and the oldest part gives way."""
    parts: list[str] = []
    attempt: int | None = None
    for piece in pieces:
        if attempt is not None and piece["attempt"] != attempt:
            parts.append(f"---- attempt {piece['attempt']} ----\n")
        attempt = piece["attempt"]
        parts.append(piece["text"])
    text = "".join(parts)
    if len(text) <= chars_max:
        return text
    return f"(the first {len(text) - chars_max} characters are left out)\n{text[-chars_max:]}"


def event(row: Row) -> EventView:
    """A row of `events`."""
    data: dict[str, Any] = json.loads(row["data"])
    return EventView(
        position=row["position"],
        stream=row["stream"],
        version=row["version"],
        type=row["type"],
        at=row["at"],
        actor=row["actor"],
        correlation_id=row["correlation_id"],
        data={name: value for name, value in data.items() if name not in HIDDEN_FIELDS | {"type"}},
    )


def key(row: Row) -> KeyView:
    """A row of `api_keys`."""
    return KeyView(
        key_id=row["key_id"],
        key_sha256=row["key_sha256"],
        owner=row["owner"],
        role=Role(row["role"]),
        label=row["label"],
        created_at=row["created_at"],
        revoked_at=row["revoked_at"],
        named_scopes=None if row["scopes"] is None else tuple(Scope(name) for name in _json(row["scopes"])),
        team=row["team"],
        expires_at=row["expires_at"],
        previous_sha256=row["previous_sha256"],
        previous_until=row["previous_until"],
        last_used_at=row["last_used_at"],
    )


def agent(row: Row) -> AgentView:
    """A row of `agents`."""
    return AgentView(
        agent_id=row["agent_id"],
        site=row["site"],
        state=row["state"],
        board_keys=tuple(_json(row["board_keys"]) or ()),
        updated_at=row["updated_at"],
    )


def stored_answer(row: Row) -> StoredAnswer:
    """A row of `commands`."""
    answer = decode_answer(row["answer"].encode())
    return StoredAnswer(fingerprint=row["fingerprint"], code=answer.code, message=answer.message, data=answer.data)
