"""The codec: every message survives the wire, nothing malformed gets in, old versions are upcast."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutlab_events import codec, events, values
from lutlab_events.commands import Command
from lutlab_events.envelope import CommandEnvelope, EventEnvelope, Recorded
from lutlab_events.ids import derived

SAMPLES = Path(__file__).parent / "stored_events.jsonl"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BITSTREAM = values.BitstreamRef(
    digest="ab" * 32,
    size_bytes=1,
    build_key="cd" * 32,
    build_id=7,
    profile="lfe5u-25f",
    clk_hz=50_000_000,
    baud=12_500_000,
)

st.register_type_strategy(UUID, st.uuids())
st.register_type_strategy(datetime, st.datetimes(timezones=st.just(UTC)))
JSON_VALUES = st.dictionaries(st.text(max_size=5), st.integers(-(2**40), 2**40) | st.text(max_size=5), max_size=3)
OWN: dict[Any, st.SearchStrategy[Any]] = {values.Json: JSON_VALUES, dict[str, Any]: JSON_VALUES}


def of(kind: Any) -> st.SearchStrategy[Any]:
    """A strategy for a field's type, built from the struct's own declaration."""
    if kind in OWN:
        return OWN[kind]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return struct_of(kind)
    args = get_args(kind)
    if args and type(None) in args:
        return st.none() | of(next(a for a in args if a is not type(None)))
    if args and args[-1] is Ellipsis:
        return st.lists(of(args[0]), max_size=3).map(tuple)
    if kind is int:
        return st.integers(0, 2**53)
    if kind is float:
        return st.floats(0, 1e6)
    return st.from_type(kind)


def struct_of(kind: type) -> st.SearchStrategy[Any]:
    """A strategy that fills every field of a struct."""
    return st.builds(kind, **{f.name: of(f.type) for f in msgspec.structs.fields(kind)})


@given(st.one_of([struct_of(c) for c in get_args(events.Event)]))
def test_every_event_survives_the_ledger(event: events.Event) -> None:
    stored = codec.encode_event_body(event)
    assert codec.decode_event_body(codec.event_type(event), stored) == event


@given(st.one_of([struct_of(c) for c in get_args(Command)]))
def test_every_command_survives_the_wire(body: Command) -> None:
    envelope = CommandEnvelope(
        command_id=derived("c"), body=body, actor="a", site="main", correlation_id=derived("r"), issued_at=NOW
    )
    assert codec.decode_command(codec.encode(envelope)) == envelope


def test_event_envelope_survives_the_wire() -> None:
    envelope = EventEnvelope(
        position=9,
        event_id=derived("e"),
        stream="board-3",
        version=2,
        body=events.BoardReset(epoch=4),
        causation_id=derived("c"),
        correlation_id=derived("r"),
        actor="timer",
        site="main",
        at=NOW,
    )
    assert codec.decode_event_envelope(codec.encode(envelope)) == envelope


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"command_id": 3}', b"\xff\xfe", b'{"type":"Nope"}'])
def test_malformed_messages_are_refused_with_their_beginning(data: bytes) -> None:
    with pytest.raises(codec.Undecodable, match="message begins"):
        codec.decode_command(data)


def test_every_stored_type_has_name_and_version() -> None:
    for name in codec.EVENT_TYPES:
        aggregate, what, version = name.split(".")
        assert aggregate in {"board", "job", "agent", "key", "profile", "webhook", "project", "verification"}
        assert what.islower()
        assert version[0] == "v"
        assert version[1:].isdigit()


def test_every_version_ever_stored_is_still_read() -> None:
    """`stored_events.jsonl` holds one stored sample of every type ever written; lines are added, never changed."""
    seen = set()
    for line in SAMPLES.read_text().splitlines():
        stored_type = msgspec.json.decode(line)["type"]
        codec.decode_event_body(stored_type, line)
        seen.add(stored_type)
    assert seen >= set(codec.EVENT_TYPES), "add a stored sample of each new event type"


def test_an_old_version_is_upcast(monkeypatch: pytest.MonkeyPatch) -> None:
    def from_v0(fields: dict[str, Any]) -> dict[str, Any]:
        return {"type": "board.reset.v1", "epoch": fields["generation"]}

    monkeypatch.setitem(codec.UPCASTERS, "board.reset.v0", from_v0)
    old = '{"type":"board.reset.v0","generation":5}'
    assert codec.decode_event_body("board.reset.v0", old) == events.BoardReset(epoch=5)


def test_an_unknown_type_is_an_error_that_names_it() -> None:
    with pytest.raises(codec.Undecodable, match="board\\.exploded\\.v1"):
        codec.decode_event_body("board.exploded.v1", '{"type":"board.exploded.v1"}')


DEEP = '{"type":"job.completed.v1","result":{"x":' + "[" * 5000 + "]" * 5000 + "}}"


@pytest.mark.parametrize("body", ["{}", "null", '"text"', '{"type":"board.reset.v1"}', '{"type":7}', DEEP])
def test_damaged_events_are_named_as_such_however_they_are_read(body: str) -> None:
    with pytest.raises(codec.Undecodable):
        codec.decode_event_envelopes([f'{{"position":1,"body":{body}}}'])
    with pytest.raises(codec.Undecodable):
        codec.decode_recorded(f'[1,1,"board-3",null,"main","2026-01-01T00:00:00Z",{body}]\n'.encode())
    with pytest.raises(codec.Undecodable):
        codec.decode_recorded(body.encode() + b"\n")
    with pytest.raises(codec.Undecodable):
        codec.decode_event_body("board.reset.v0", body)


def test_stored_envelopes_are_decoded_together_old_versions_too(monkeypatch: pytest.MonkeyPatch) -> None:
    envelope = EventEnvelope(
        position=1,
        event_id=UUID(int=1),
        stream="board-3",
        version=1,
        body=events.BoardReset(epoch=4),
        causation_id=UUID(int=2),
        correlation_id=UUID(int=3),
        actor="test",
        site="main",
        at=datetime(2026, 1, 1, 12, 0, 0, 250, tzinfo=UTC),
    )
    text = codec.encode(envelope).decode()
    old = text.replace("board.reset.v1", "board.reset.v0").replace('"epoch"', '"era"')
    monkeypatch.setitem(
        codec.UPCASTERS, "board.reset.v0", lambda fields: {"type": "board.reset.v1", "epoch": fields["era"]}
    )
    assert codec.decode_event_envelopes([text, text]) == [envelope, envelope]
    assert codec.decode_event_envelopes([text, old]) == [envelope, envelope]
    assert codec.decode_event_envelopes([]) == []
    with pytest.raises(codec.Undecodable, match="unknown"):
        codec.decode_event_envelopes([text.replace("board.reset.v1", "unknown.v1")])


def test_recorded_events_are_decoded_line_by_line_old_versions_too(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Recorded(
        position=7,
        stream="board-3",
        version=2,
        body=events.BoardReset(epoch=4),
        begun_by=None,
        site="main",
        at=datetime(2026, 1, 1, 12, 0, 0, 250, tzinfo=UTC),
    )
    line = codec.encode(recorded) + b"\n"
    old = line.replace(b"board.reset.v1", b"board.reset.v0").replace(b'"epoch"', b'"era"')
    monkeypatch.setitem(
        codec.UPCASTERS, "board.reset.v0", lambda fields: {"type": "board.reset.v1", "epoch": fields["era"]}
    )
    assert codec.decode_recorded(line + line) == [recorded, recorded]
    assert codec.decode_recorded(memoryview(line + old)) == [recorded, recorded]
    assert codec.decode_recorded(b"") == []
    with pytest.raises(codec.Undecodable, match="unknown"):
        codec.decode_recorded(line.replace(b"board.reset.v1", b"unknown.v1"))
    with pytest.raises(AssertionError, match="not the first of board-3"):
        _ = recorded.correlation_id
