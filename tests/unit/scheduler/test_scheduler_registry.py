"""Agents, keys and profiles."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import scheduler_given as g

from lutlab_events import commands as c
from lutlab_events import events as e
from lutlab_events.ids import derived, key_stream
from lutlab_events.rejections import Rejection as R
from lutlab_events.values import Role, Scope
from lutlab_scheduler.app.world import World
from lutlab_scheduler.domain import agent, key, profile
from lutlab_scheduler.domain.outcome import Rejected

FIRST, SECOND = derived("first"), derived("second")
REGISTERED = e.AgentRegistered(agent_id=g.AGENT, incarnation=FIRST, board_keys=("b3",))


def code(decided: Any) -> R:
    assert isinstance(decided, Rejected)
    return decided.code


def register(incarnation: Any = FIRST, *keys: str) -> c.RegisterAgent:
    boards = tuple(g.report(board_key=key) for key in keys or ("b3",))
    return c.RegisterAgent(agent_id=g.AGENT, incarnation=incarnation, boards=boards)


def test_agents_register_once_per_incarnation_and_set_of_boards() -> None:
    known = g.fold(agent.evolve, "agent-bench", [REGISTERED])
    assert agent.register(register(), None) == [REGISTERED]
    assert agent.register(register(), known) == []
    assert agent.register(register(SECOND), known) != []
    assert agent.register(register(FIRST, "b3", "b4"), known) != []


def test_agents_are_lost_once_and_only_as_the_incarnation_that_was_silent() -> None:
    known = g.fold(agent.evolve, "agent-bench", [REGISTERED])
    lost = agent.lose(c.LoseAgent(agent_id=g.AGENT, incarnation=FIRST), known)
    assert lost == [e.AgentLost(agent_id=g.AGENT, incarnation=FIRST)]
    assert code(agent.lose(c.LoseAgent(agent_id=g.AGENT, incarnation=SECOND), known)) is R.STALE_INCARNATION
    assert code(agent.lose(c.LoseAgent(agent_id=g.AGENT, incarnation=FIRST), None)) is R.STALE_INCARNATION
    gone = g.fold(agent.evolve, "agent-bench", [REGISTERED, *lost])
    assert code(agent.lose(c.LoseAgent(agent_id=g.AGENT, incarnation=FIRST), gone)) is R.NOTHING_TO_DO
    assert agent.register(register(), gone) == [REGISTERED]


def test_keys_are_issued_once_and_revoked_once() -> None:
    issue = c.IssueKey(key_id=FIRST, key_sha256="a" * 64, owner="ada")
    issued = key.issue(issue, None, digest_is_known=False)
    assert not isinstance(issued, Rejected)
    known = g.fold(key.evolve, "key-1", issued)
    assert code(key.issue(issue, known, digest_is_known=True)) is R.KEY_EXISTS
    assert code(key.issue(issue, None, digest_is_known=True)) is R.KEY_EXISTS
    revoked = key.revoke(c.RevokeKey(key_id=FIRST), known)
    assert revoked == [e.KeyRevoked(key_id=FIRST)]
    assert code(key.revoke(c.RevokeKey(key_id=FIRST), None)) is R.KEY_NOT_FOUND
    gone = g.fold(key.evolve, "key-1", [*issued, *revoked])
    assert code(key.revoke(c.RevokeKey(key_id=FIRST), gone)) is R.NOTHING_TO_DO


def test_a_rotated_key_has_another_digest_and_the_one_before_for_a_while() -> None:
    until = datetime(2026, 1, 2, tzinfo=UTC)
    wish = {"scopes": (Scope.READ,), "team": "red", "expires_at": until}
    asked = c.IssueKey(key_id=FIRST, key_sha256="a" * 64, owner="ada", **wish)
    issued = key.issue(asked, None, digest_is_known=False)
    assert not isinstance(issued, Rejected)
    known = g.fold(key.evolve, "key-1", issued)
    assert (known.scopes, known.team, known.expires_at) == ((Scope.READ,), "red", until)
    rotate = c.RotateKey(key_id=FIRST, key_sha256="b" * 64, previous_until=until)
    assert code(key.rotate(rotate, None, digest_is_known=False)) is R.KEY_NOT_FOUND
    assert code(key.rotate(rotate, known, digest_is_known=True)) is R.KEY_EXISTS
    rotated = key.rotate(rotate, known, digest_is_known=False)
    assert rotated == [e.KeyRotated(key_id=FIRST, key_sha256="b" * 64, previous_until=until)]
    after = g.fold(key.evolve, "key-1", [*issued, *rotated])
    assert (after.key_sha256, after.previous_sha256, after.previous_until) == ("b" * 64, "a" * 64, until)
    assert (after.owner, after.scopes) == ("ada", (Scope.READ,))
    gone = g.fold(key.evolve, "key-1", [*issued, *rotated, e.KeyRevoked(key_id=FIRST)])
    assert code(key.rotate(rotate, gone, digest_is_known=False)) is R.KEY_NOT_FOUND


def test_a_rotation_that_is_taken_back_takes_its_digest_with_it() -> None:
    world = World()
    issued = e.KeyIssued(key_id=FIRST, key_sha256="a" * 64, owner="ada", role=Role.MEMBER)
    rotated = e.KeyRotated(key_id=FIRST, key_sha256="b" * 64, previous_until=datetime(2026, 1, 2, tzinfo=UTC))
    stream = key_stream(FIRST)
    for envelope in g.envelopes(stream, [issued]):
        world.apply(envelope)
    world.settle()
    world.apply(g.envelopes(stream, [issued, rotated])[1])
    assert world.knows_digest("a" * 64)
    assert world.knows_digest("b" * 64)
    world.undo()
    assert world.knows_digest("a" * 64)
    assert not world.knows_digest("b" * 64)


def test_the_newest_base_design_counts() -> None:
    report = c.ReportBaseBuilt(profile=g.PROFILE, bitstream=g.BASE)
    built = profile.base_built(report, None, g.CONTEXT)
    assert built == [e.BaseBuilt(profile=g.PROFILE, bitstream=g.BASE)]
    known = g.fold(profile.evolve, "profile-x", built)
    assert code(profile.base_built(report, known, g.CONTEXT)) is R.NOTHING_TO_DO
    newer = c.ReportBaseBuilt(profile=g.PROFILE, bitstream=g.bits("newer"))
    assert not isinstance(profile.base_built(newer, known, g.CONTEXT), Rejected)
    strange = c.ReportBaseBuilt(profile="ice40", bitstream=g.BASE)
    assert code(profile.base_built(strange, None, g.CONTEXT)) is R.UNKNOWN_PROFILE
