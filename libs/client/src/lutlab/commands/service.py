"""Boards in and out of service; for admins."""

from __future__ import annotations

from typing import Annotated

import typer

from lutlab.client import Client
from lutlab.commands.common import BoardId, note, with_lab

Reason = Annotated[str, typer.Option("--reason", help="Why; shown to whoever looks at the board.")]


@with_lab
def drain(
    lab: Client,
    *,
    board: BoardId,
    reason: Reason = "",
    now: Annotated[
        bool, typer.Option("--now", help="End a session on it at once instead of letting it run out.")
    ] = False,
) -> None:
    """Take a board out of service: it gets no new jobs. For admins."""
    lab.post(f"/api/v1/boards/{board}/{'maintenance' if now else 'drain'}", json={"reason": reason})
    note(f"board {board} gets no new jobs; put it back with: lutlab undrain {board}")


@with_lab
def undrain(
    lab: Client,
    *,
    board: BoardId,
    reason: Reason = "",
) -> None:
    """Put a board back into service, also from quarantine. For admins."""
    lab.post(f"/api/v1/boards/{board}/return", json={"reason": reason})
    note(f"board {board} gets jobs again")


@with_lab
def forget(
    lab: Client,
    *,
    board: BoardId,
) -> None:
    """Take a board that is gone for good off the list. It comes back if it is found again. For admins."""
    lab.delete(f"/api/v1/boards/{board}")
    note(f"board {board} is forgotten")
