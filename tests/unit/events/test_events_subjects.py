"""Subjects and headers: what is written in one place reads back in the other."""

from __future__ import annotations

import zlib
from uuid import UUID

import pytest

from lutlab_events import busmsg, ids, subjects

SESSION = UUID(int=5)


def test_event_subjects_carry_site_aggregate_and_name() -> None:
    assert subjects.event("main", "board-3", "board.programmed.v1") == "evt.main.board.3.programmed.v1"
    assert subjects.event("main", "profile-lfe5u-25f", "profile.base_built.v1").startswith(
        "evt.main.profile.lfe5u-25f."
    )


@pytest.mark.parametrize("name", ["", "a.b", "a b", "a\n", "main\n", "x" * 65, "*", ">"])
def test_names_that_would_break_a_subject_are_refused(name: str) -> None:
    with pytest.raises(subjects.InvalidToken):
        subjects.agent_work("main", name)


@pytest.mark.parametrize(
    ("subject", "is_one"),
    [
        (subjects.answer("5f0c", SESSION), True),
        (f"{subjects.answer('5f0c', SESSION)}-17", True),
        ("", False),
        ("ans.a", False),
        ("ans.a.b.c", False),
        ("ans.a.>", False),
        ("ans.a.b c", False),
        ("ans.a.b\r\nPUB work.main.build 2\r\n{}", False),
        ("$JS.API.STREAM.PURGE.COMMANDS", False),
        ("work.main.build", False),
    ],
)
def test_answers_go_where_answers_go(subject: str, is_one: bool) -> None:
    assert subjects.is_answer(subject) == is_one


def test_a_subject_is_of_its_stream_only() -> None:
    assert subjects.is_of("WORK", "work.main.build") and subjects.is_of("COMMANDS", "cmd.main.IssueKey")
    for stream, subject in (
        ("WORK", "cmd.main.IssueKey"),
        ("WORK", "workshop"),
        ("NONE", "work.main.build"),
        ("WORK", ""),
    ):
        assert not subjects.is_of(stream, subject)


def test_streams_cover_every_published_subject_once() -> None:
    published = [
        subjects.command("main", "SubmitBuild"),
        subjects.event("main", "job-1", "job.failed.v1"),
        subjects.build_work("main"),
        subjects.agent_work("main", "a"),
        subjects.log("main", SESSION),
        subjects.dead("main", "COMMANDS"),
    ]
    for subject in published:
        matches = [s.name for s in subjects.STREAMS if subject.startswith(s.subjects[0].removesuffix(">"))]
        assert len(matches) == 1, (subject, matches)


def test_bus_headers_round_trip() -> None:
    lease = busmsg.Lease(fpga_id=3, session_id=SESSION, epoch=9)
    headers = busmsg.BusHeaders(verb=busmsg.BusVerb.EXCHANGE, lease=lease, stream_id="s", request_id="r")
    assert busmsg.BusHeaders.from_headers(headers.to_headers()) == headers


@pytest.mark.parametrize("missing", [busmsg.H_VERB, busmsg.H_BOARD, busmsg.H_SESSION, busmsg.H_EPOCH])
def test_bus_headers_name_what_is_missing(missing: str) -> None:
    lease = busmsg.Lease(fpga_id=3, session_id=SESSION, epoch=9)
    headers = busmsg.BusHeaders(verb=busmsg.BusVerb.OPEN, lease=lease).to_headers()
    del headers[missing]
    with pytest.raises(ValueError, match=missing):
        busmsg.BusHeaders.from_headers(headers)


def test_bus_reply_round_trip_keeps_newlines_out_of_headers() -> None:
    reply = busmsg.BusReply(status=busmsg.BusStatus.LINK_FAILED, message="gone\nfor good", frame=b"\x01")
    back = busmsg.BusReply.from_message(reply.to_headers(), b"\x01")
    assert (back.status, back.message, back.frame) == (busmsg.BusStatus.LINK_FAILED, "gone for good", b"\x01")


def test_a_large_frame_is_one_message_all_the_same_or_says_why_not() -> None:
    told = "".join(f"#{cycle * 20000}\nb{cycle:032b} !\n" for cycle in range(100_000)).encode()
    headers, payload = busmsg.BusReply(status=busmsg.BusStatus.OK, frame=told).to_message(1 << 20)
    assert len(payload) < (1 << 20) < len(told)
    assert busmsg.BusReply.from_message(headers, payload).frame == told
    with pytest.raises(ValueError, match="frame"):
        busmsg.BusReply.from_message(headers, payload[:-10])
    with pytest.raises(ValueError, match="inflated"):
        busmsg.BusReply.from_message(headers, b"no" + payload)
    headers, payload = busmsg.BusReply(status=busmsg.BusStatus.OK, frame=told).to_message(10_000)
    refused = busmsg.BusReply.from_message(headers, payload)
    assert (refused.status, refused.frame) == (busmsg.BusStatus.REFUSED, b"")
    assert str(len(told)) in refused.message
    bomb = zlib.compress(bytes(busmsg.FRAME_BYTES_MAX + 1))
    with pytest.raises(ValueError, match="more than"):
        busmsg.BusReply.from_message({busmsg.H_STATUS: "ok", busmsg.H_ENCODING: busmsg.DEFLATE}, bomb)


def test_ids_are_the_same_for_the_same_cause_and_differ_otherwise() -> None:
    assert ids.derived("expire", SESSION) == ids.derived("expire", SESSION)
    assert ids.derived("a", "bc") != ids.derived("ab", "c")
    assert ids.command_id_for_key("ann", "k") != ids.command_id_for_key("bob", "k")
