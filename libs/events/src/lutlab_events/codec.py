"""JSON on the wire and in the ledger: strict decoding, one encoder, upcasting of old event versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import msgspec

from lutlab_events.envelope import Answer, CommandEnvelope, EventEnvelope, Recorded
from lutlab_events.events import Event
from lutlab_events.work import AgentHeartbeat, BuilderHeartbeat, Control, LogChunk, StageProgress, Work


class Undecodable(ValueError):
    """A message is not what its subject promises; it goes to the dead letters with this reason."""

    code = "undecodable"


DAMAGED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a decoder raises; the last one if a message is nested too deeply."""

_encoder = msgspec.json.Encoder()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {
    t: msgspec.json.Decoder(t)
    for t in (
        CommandEnvelope,
        EventEnvelope,
        list[EventEnvelope],
        Recorded,
        Answer,
        Event,
        Work,
        Control,
        LogChunk,
        AgentHeartbeat,
        BuilderHeartbeat,
        StageProgress,
    )
}

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
UPCASTERS: dict[str, Upcaster] = {}
"""Old event type -> function from its stored fields to those of the next version, `type` included."""

EVENT_TYPES: dict[str, type] = {cls.__struct_config__.tag: cls for cls in get_args(Event)}
"""Every current event class by its stored type."""


def encode(message: Any) -> bytes:
    """JSON bytes of any struct of this package."""
    return _encoder.encode(message)


def _decode(kind: Any, data: bytes | str) -> Any:
    decoder = _decoders.get(kind)
    try:
        return msgspec.json.decode(data, type=kind) if decoder is None else decoder.decode(data)
    except DAMAGED as error:
        raise Undecodable(f"{error}; message begins {data[:80]!r}") from error


def decode_command(data: bytes) -> CommandEnvelope:
    """A command envelope. Raises: Undecodable."""
    result: CommandEnvelope = _decode(CommandEnvelope, data)
    return result


def decode_answer(data: bytes) -> Answer:
    """An answer. Raises: Undecodable."""
    result: Answer = _decode(Answer, data)
    return result


def decode_event_envelope(data: bytes) -> EventEnvelope:
    """A published event. Raises: Undecodable."""
    result: EventEnvelope = _decode(EventEnvelope, data)
    return result


class _Tag(msgspec.Struct):
    type: str


class _Stored(msgspec.Struct):
    body: msgspec.Raw


def decode_event_envelopes(texts: list[str]) -> list[EventEnvelope]:
    """Stored events, each as the JSON of its envelope; all at once, which is several times as fast as one by one.

    Raises:
        Undecodable: one of them is of no known type, current or old.
    """
    try:
        result: list[EventEnvelope] = _decode(list[EventEnvelope], "[" + ",".join(texts) + "]")
    except Undecodable:
        # Some are of an old version.
        result = [_decode_stored(text) for text in texts]
    return result


def _decode_stored(text: str) -> EventEnvelope:
    body = bytes(_decode(_Stored, text).body)
    event = decode_event_body(_decode(_Tag, body).type, body)
    fields = msgspec.json.decode(text)
    fields["body"] = msgspec.to_builtins(event)
    return decode_event_envelope(msgspec.json.encode(fields))


def decode_recorded(lines: bytes | bytearray | memoryview) -> list[Recorded]:
    """Stored events, each as the JSON of `Recorded` on a line of its own, ended by a newline.

    Raises:
        Undecodable: one of them is of no known type, current or old.
    """
    try:
        return _decoders[Recorded].decode_lines(lines)
    except DAMAGED:
        # Some are of an old version, or damaged.
        return [_decode_one_recorded(line) for line in bytes(lines).splitlines()]


def _decode_one_recorded(line: bytes) -> Recorded:
    fields = _decode(list[msgspec.Raw], line)
    place = Recorded.__struct_fields__.index("body")
    body = bytes(fields[place])
    event = decode_event_body(_decode(_Tag, body).type, body)
    fields[place] = msgspec.Raw(_encoder.encode(event))
    result: Recorded = _decode(Recorded, _encoder.encode(fields))
    return result


def decode_work(data: bytes) -> Work:
    """A work item. Raises: Undecodable."""
    result: Work = _decode(Work, data)
    return result


def decode_control(data: bytes) -> Control:
    """A control message. Raises: Undecodable."""
    result: Control = _decode(Control, data)
    return result


def decode_log_chunk(data: bytes) -> LogChunk:
    """A piece of a job's log. Raises: Undecodable."""
    result: LogChunk = _decode(LogChunk, data)
    return result


def decode_heartbeat(data: bytes) -> AgentHeartbeat:
    """An agent's heartbeat. Raises: Undecodable."""
    result: AgentHeartbeat = _decode(AgentHeartbeat, data)
    return result


def decode_builder_heartbeat(data: bytes) -> BuilderHeartbeat:
    """A builder's heartbeat. Raises: Undecodable."""
    result: BuilderHeartbeat = _decode(BuilderHeartbeat, data)
    return result


def decode_progress(data: bytes) -> StageProgress:
    """How far a stage is. Raises: Undecodable."""
    result: StageProgress = _decode(StageProgress, data)
    return result


def event_type(event: Event) -> str:
    """The stored type of an event, e.g. `board.programmed.v1`."""
    return str(event.__struct_config__.tag)


def encode_event_body(event: Event) -> str:
    """The stored JSON of an event, its type included."""
    return _encoder.encode(event).decode()


def decode_event_body(stored_type: str, data: str | bytes) -> Event:
    """An event from its stored type and JSON, upcast to its newest version. Raises: Undecodable."""
    if stored_type in EVENT_TYPES:
        result: Event = _decode(Event, data)
        return result
    return _upcast(stored_type, data)


def _upcast(stored_type: str, data: str | bytes) -> Event:
    fields: dict[str, Any] = _decode(dict[str, Any], data)
    while stored_type not in EVENT_TYPES:
        if stored_type not in UPCASTERS:
            raise Undecodable(f"no event type {stored_type!r} is known, and no upcaster for it")
        fields = UPCASTERS[stored_type](fields)
        stored_type = fields["type"]
    result: Event = _decode(Event, msgspec.json.encode(fields))
    return result
