"""Boards in and out of service; for admins."""

from __future__ import annotations

from typing import Annotated

import typer

from lutlab.commands.common import ApiKey, ApiUrl, BoardId, DataDir, client, note

Reason = Annotated[str, typer.Option("--reason", help="Why; shown to whoever looks at the board.")]


def drain(
    *,
    board: BoardId,
    reason: Reason = "",
    now: Annotated[
        bool, typer.Option("--now", help="End a session on it at once instead of letting it run out.")
    ] = False,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
) -> None:
    """Take a board out of service: it gets no new jobs. For admins."""
    with client(api_url, api_key, data_dir) as lab:
        lab.post(f"/api/v1/boards/{board}/{'maintenance' if now else 'drain'}", json={"reason": reason})
    note(f"board {board} gets no new jobs; put it back with: lutlab undrain {board}")


def undrain(
    *,
    board: BoardId,
    reason: Reason = "",
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
) -> None:
    """Put a board back into service, also from quarantine. For admins."""
    with client(api_url, api_key, data_dir) as lab:
        lab.post(f"/api/v1/boards/{board}/return", json={"reason": reason})
    note(f"board {board} gets jobs again")


def forget(
    *,
    board: BoardId,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
) -> None:
    """Take a board that is gone for good off the list. It comes back if it is found again. For admins."""
    with client(api_url, api_key, data_dir) as lab:
        lab.delete(f"/api/v1/boards/{board}")
    note(f"board {board} is forgotten")
