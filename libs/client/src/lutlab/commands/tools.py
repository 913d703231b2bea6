"""Which tools of verification a lab's builders have."""

from __future__ import annotations

import typer

from lutlab.commands.common import ApiKey, ApiUrl, AsJson, DataDir, client, out, out_json
from lutlab.text import or_dash, table

EXIT_MISSING = 1


def tools(*, as_json: AsJson = False, api_url: ApiUrl = None, api_key: ApiKey = None, data_dir: DataDir = None) -> None:
    """List the lab's tools of verification. And how to get those that are missing.

    Ends with 1 if no builder tells of any.
    """
    with client(api_url, api_key, data_dir) as lab:
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
    out(table(("tool", "there", "version", "how to get it"), rows))
