"""Which tools of verification a lab's builders have."""

from __future__ import annotations

import typer

from lutlab.client import Client
from lutlab.commands.common import AsJson, out, out_json, out_table, with_lab
from lutlab.text import or_dash

EXIT_MISSING = 1


@with_lab
def tools(lab: Client, *, as_json: AsJson = False) -> None:
    """List the lab's tools of verification. And how to get those that are missing.

    Ends with 1 if no builder tells of any.
    """
    found = lab.get("/api/v1/health")["tools"]
    if as_json:
        out_json(found)
        return
    if not found:
        out("no builder tells which tools it has")
        raise typer.Exit(EXIT_MISSING)
    rows = [
        (name, "yes" if tool["available"] else "no", or_dash(tool["version"]), tool["hint"] or "")
        for name, tool in sorted(found.items())
    ]
    out_table(("tool", "there", "version", "how to get it"), rows)
