"""What an owner has stored."""

from __future__ import annotations

from typing import Annotated

import typer

from lutlab.client import Client
from lutlab.commands.common import AsJson, out, out_json, with_lab
from lutlab.text import size_text


@with_lab
def storage(
    lab: Client,
    *,
    owner: Annotated[str | None, typer.Option("--owner", help="Whose; for admins. Left out: your own.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show how much is stored for you, of how much may be. Designs, bitstreams, projects, what jobs left."""
    found = lab.storage(owner)
    if as_json:
        out_json(found)
        return
    share = found.used_bytes / found.limit_bytes
    out(f"{found.owner}: {size_text(found.used_bytes)} of {size_text(found.limit_bytes)} ({share:.0%})")
    out(f"{found.used_bytes} of {found.limit_bytes} bytes in {found.blobs} different files")
