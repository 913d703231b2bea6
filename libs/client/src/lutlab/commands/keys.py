"""API keys."""

from __future__ import annotations

from typing import Annotated

import typer

from lutlab.commands.common import ApiKey, ApiUrl, DataDir, client, note, out

keys = typer.Typer(no_args_is_help=True, help="API keys; for admins.")


@keys.callback()
def group() -> None:
    """API keys; for admins."""


@keys.command()
def issue(
    *,
    owner: Annotated[str, typer.Argument(help="Whose key: jobs and sessions are recorded under this name.")],
    admin: Annotated[bool, typer.Option("--admin", help="A key that may manage keys and act for anyone.")] = False,
    label: Annotated[str, typer.Option("--label", help="What it is for.")] = "",
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
) -> None:
    """Issue a new key. It is printed once and stored nowhere."""
    with client(api_url, api_key, data_dir) as lab:
        issued = lab.issue_key(owner, role="admin" if admin else "member", label=label)
    note(f"a key for {issued.owner} ({issued.role}); keep it, it is not shown again:")
    out(issued.api_key)
