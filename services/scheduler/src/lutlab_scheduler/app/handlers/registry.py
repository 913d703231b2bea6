"""Handlers of commands about agents, keys and profiles."""

from __future__ import annotations

from typing import Any

from lutlab_events import commands as c
from lutlab_events import events as e
from lutlab_events.ids import agent_stream, board_stream, key_stream, profile_stream
from lutlab_events.values import BoardReport, BoardState, Json
from lutlab_scheduler.app.handlers.common import change_board
from lutlab_scheduler.app.transaction import Transaction
from lutlab_scheduler.domain import agent, key, profile
from lutlab_scheduler.domain.board import Board
from lutlab_scheduler.domain.board_decisions import AttachBoard, LoseBoard, SupplyBase
from lutlab_scheduler.domain.key import Key
from lutlab_scheduler.domain.outcome import Rejected
from lutlab_scheduler.domain.profile import Profile

# -- agents ------------------------------------------------------------------------------------------


def _register(command: c.RegisterAgent, tx: Transaction) -> Json | Rejected:
    decided = agent.register(command, tx.world.agent(command.agent_id))
    if isinstance(decided, Rejected):
        return decided
    tx.append(agent_stream(command.agent_id), decided)
    for report in command.boards:
        refused = _attach(command.agent_id, report, tx)
        if refused is not None:
            return refused
    served = {report.board_key for report in command.boards}
    refused = _lose_boards(command.agent_id, served, "its agent does not serve it any more", tx)
    return refused or {"boards": {report.board_key: _facts(report, tx) for report in command.boards}}


def _attach(agent_id: str, report: BoardReport, tx: Transaction) -> Rejected | None:
    known = tx.world.board_by_key(tx.command.site, report.board_key)
    if known is not None:
        return change_board(tx, known, AttachBoard(agent_id=agent_id, report=report))
    fpga_id = tx.world.next_fpga_id()
    registered = e.BoardRegistered(
        fpga_id=fpga_id,
        board_key=report.board_key,
        agent_id=agent_id,
        profile=report.profile,
        labels=report.labels,
        epoch=report.epoch,
    )
    tx.append(board_stream(fpga_id), [registered])
    return None


def _facts(report: BoardReport, tx: Transaction) -> Json:
    """What an agent must know of a board: its number, its epoch, and whose bus traffic is allowed."""
    board = tx.world.board_by_key(tx.command.site, report.board_key)
    assert board is not None
    session = board.session if board.state is BoardState.RESERVED else None
    return {
        "fpga_id": board.fpga_id,
        "state": board.state.value,
        "epoch": board.epoch,
        "session_id": str(session.session_id) if session else None,
        "session_expires_at": session.expires_at.isoformat() if session else None,
    }


def _lose_boards(agent_id: str, but: set[str], reason: str, tx: Transaction) -> Rejected | None:
    """Lose every reachable board of an agent except those named."""
    boards: list[Board] = [b for b in tx.world.boards() if b.agent_id == agent_id and b.site == tx.command.site]
    for board in boards:
        if board.board_key in but or board.state is BoardState.LOST:
            continue
        refused = change_board(tx, board, LoseBoard(agent_id=agent_id, reason=reason))
        if refused is not None:
            return refused
    return None


def _lose_agent(command: c.LoseAgent, tx: Transaction) -> Json | Rejected:
    decided = agent.lose(command, tx.world.agent(command.agent_id))
    if isinstance(decided, Rejected):
        return decided
    tx.append(agent_stream(command.agent_id), decided)
    return _lose_boards(command.agent_id, set(), f"agent {command.agent_id} does not answer any more", tx) or {}


# -- keys --------------------------------------------------------------------------------------------


def _key(tx: Transaction, stream: str) -> Key | None:
    state = tx.world.state(stream)
    assert state is None or isinstance(state, Key)
    return state


def _issue_key(command: c.IssueKey, tx: Transaction) -> Json | Rejected:
    stream = key_stream(command.key_id)
    decided = key.issue(command, _key(tx, stream), digest_is_known=tx.world.knows_digest(command.key_sha256))
    if isinstance(decided, Rejected):
        return decided
    tx.append(stream, decided)
    return {"key_id": str(command.key_id)}


def _revoke_key(command: c.RevokeKey, tx: Transaction) -> Json | Rejected:
    stream = key_stream(command.key_id)
    decided = key.revoke(command, _key(tx, stream))
    if isinstance(decided, Rejected):
        return decided
    tx.append(stream, decided)
    return {}


def _rotate_key(command: c.RotateKey, tx: Transaction) -> Json | Rejected:
    stream = key_stream(command.key_id)
    decided = key.rotate(command, _key(tx, stream), digest_is_known=tx.world.knows_digest(command.key_sha256))
    if isinstance(decided, Rejected):
        return decided
    tx.append(stream, decided)
    return {"key_id": str(command.key_id)}


# -- profiles ----------------------------------------------------------------------------------------


def _base_built(command: c.ReportBaseBuilt, tx: Transaction) -> Json | Rejected:
    stream = profile_stream(command.profile)
    state = tx.world.state(stream)
    assert state is None or isinstance(state, Profile)
    decided = profile.base_built(command, state, tx.context)
    if isinstance(decided, Rejected):
        return decided
    tx.append(stream, decided)
    for board in list(tx.world.boards()):
        refused = change_board(tx, board, SupplyBase(bitstream=command.bitstream))
        if refused is not None:
            return refused
    return {}


HANDLERS: dict[type, Any] = {
    c.RegisterAgent: _register,
    c.LoseAgent: _lose_agent,
    c.IssueKey: _issue_key,
    c.RevokeKey: _revoke_key,
    c.RotateKey: _rotate_key,
    c.ReportBaseBuilt: _base_built,
}
