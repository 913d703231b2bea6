"""API keys."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated

import typer

from lutlab.client import Client
from lutlab.commands.common import AsJson, note, out, out_json, out_table, with_lab
from lutlab.text import clock_time, or_dash, short_time
from lutlab_events.values import Role, Scope
from lutlab_transport.clock import SystemClock

keys = typer.Typer(no_args_is_help=True, help="API keys: issue, list, rotate, revoke.")

UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
DURATION = re.compile(r"(\d{1,5})([hdw])")
KeyId = Annotated[str, typer.Argument(metavar="KEY", help="The key's id, or `me` for the one in use.")]


@keys.callback()
def group() -> None:
    """API keys: issue, list, rotate, revoke."""


def parse_expiry(text: str, now: datetime) -> datetime:
    """A moment from `90d`, `12h`, `2w`, or ISO 8601 with a zone. Raises: typer.BadParameter."""
    found = DURATION.fullmatch(text)
    if found:
        return now + int(found[1]) * UNITS[found[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise typer.BadParameter(f"{text!r}: say e.g. 90d, 12h, 2w, or 2027-01-31T12:00:00+01:00")
    return moment


@keys.command()
@with_lab
def issue(
    lab: Client,
    *,
    owner: Annotated[
        str, typer.Argument(metavar="OWNER", help="Whose key: jobs and sessions are recorded under this name.")
    ],
    role: Annotated[Role, typer.Option("--role", help="What it may do at most.")] = Role.MEMBER,
    admin: Annotated[bool, typer.Option("--admin", help="As --role admin: manages keys, acts for anyone.")] = False,
    scope: Annotated[
        list[Scope] | None, typer.Option("--scope", help="Only this; may be repeated. Left out: all its role allows.")
    ] = None,
    team: Annotated[str | None, typer.Option("--team", help="Whose jobs its owner may read too.")] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", help="When it stops working: 90d, 12h, 2w, or a moment. Left out: never.")
    ] = None,
    label: Annotated[str, typer.Option("--label", help="What it is for.")] = "",
    as_json: AsJson = False,
) -> None:
    """Issue a new key. It is printed once and stored nowhere."""
    until = None if expires is None else parse_expiry(expires, SystemClock().now())
    issued = lab.issue_key(
        owner, role=Role.ADMIN if admin else role, label=label, scopes=scope or None, team=team, expires_at=until
    )
    note(f"a key for {issued.owner} ({issued.role}); keep it, it is not shown again:")
    if as_json:
        out_json(issued)
    else:
        out(issued.api_key)


@keys.command("list")
@with_lab
def list_keys(lab: Client, *, as_json: AsJson = False) -> None:
    """List your keys; for an admin everybody's. What each is good for, until when, when it was used last."""
    found = lab.keys()
    if as_json:
        out_json(found)
        return
    now = SystemClock().now()
    rows = [
        (
            key.key_id,
            key.owner,
            f"{key.role}, revoked" if key.revoked_at else key.role,
            or_dash(key.team),
            "never" if key.expires_at is None else short_time(key.expires_at, now),
            "-" if key.last_used_at is None else short_time(key.last_used_at, now),
            f"{','.join(key.scopes)}  {key.label}".rstrip(),
        )
        for key in found
    ]
    out_table(("key", "owner", "role", "team", "expires", "last used", "scopes, label"), rows)


@keys.command()
@with_lab
def rotate(
    lab: Client,
    *,
    key: KeyId,
    grace_s: Annotated[int, typer.Option("--grace-s", min=0, help="How long the present secret works on.")] = 0,
) -> None:
    """Give a key another secret. It is printed once and stored nowhere."""
    rotated = lab.rotate_key(key, grace_s=grace_s)
    note(f"key {rotated.key_id} has another secret; the one before ends at {clock_time(rotated.previous_until)}:")
    out(rotated.api_key)


@keys.command()
@with_lab
def revoke(lab: Client, *, key: KeyId) -> None:
    """Make a key worthless."""
    lab.delete(f"/api/v1/keys/{key}")
    note(f"key {key} is worthless within two seconds everywhere")
