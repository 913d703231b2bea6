"""Every environment variable of every process, as the page docs/settings.md.

`python -m lutlab_stack.settings_page > docs/settings.md` writes it anew; a test compares the two.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from lutlab_api.settings import Settings as ApiSettings
from lutlab_board_agent.settings import AgentSettings
from lutlab_builder.settings import Settings as BuilderSettings
from lutlab_scheduler.settings import Settings as SchedulerSettings
from lutlab_transport.settings import default_of, variables
from lutlab_webhooks.settings import Settings as WebhooksSettings

PROGRAMS: dict[str, type[BaseSettings]] = {
    "lutlab-scheduler": SchedulerSettings,
    "lutlab-api": ApiSettings,
    "lutlab-builder": BuilderSettings,
    "lutlab-board-agent": AgentSettings,
    "lutlab-webhooks": WebhooksSettings,
}
SHARED_BY = 3
"""A variable that so many programs read is listed once, in front."""
OWN_DEFAULT = {
    "LUTLAB_CACHE_DIR": "`lutlab` in the user's cache folder",
    "LUTLAB_BUILDER_ID": "the host's name",
    "LUTLAB_AGENT_ID": "the host's name",
}
"""Defaults that depend on the host."""

HEAD = """\
# Settings

Every setting of the services is an environment variable, read once at start. `--help` of each program says the same,
with the defaults of its host. A wrong value ends the program with one sentence that names it.

`lutlab up` sets what its processes need and passes on the rest of its own environment:
`LUTLAB_SESSION_MAX_S=7200 lutlab up` works.

Written by `python -m lutlab_stack.settings_page > docs/settings.md`.
"""
OTHERS = (
    (
        "`LUTLAB_API_URL`, `LUTLAB_API_KEY`",
        "the lab that runs here, else the kept one",
        "the lab to talk to, and a key",
    ),
    ("`LUTLAB_DATABASE_URL`", "the lab that runs here", "the ledger for `lutlab audit verify` and `lutlab replay`"),
    (
        "`LUTLAB_DATA_DIR`",
        "`~/.local/share/lutlab`; for root `/var/lib/lutlab/main`",
        "where `lutlab up` keeps a lab",
    ),
    ("`LUTLAB_CACHE_DIR`", "`~/.cache/lutlab`", "what can be made again: compiled tools, finished builds"),
    (
        "`LUTLAB_TOOLS`",
        "`~/.cache/lutlab/tools`",
        "tools that no wheel has: [lint and simulation](lint-and-simulation.md)",
    ),
    ("`LUTLAB_PROFILE`", "`lfe5u-25f`", "what `mrg synth` and `mrg pnr` build for: [SDK](reference-sdk.md)"),
)
"""What is read outside the services."""
TABLE = ("| variable | default | what |", "|---|---|---|")


def page() -> str:
    """The whole page, in Markdown."""
    readers: dict[str, list[str]] = {}
    for program, kind in PROGRAMS.items():
        for variable, _ in variables(kind):
            readers.setdefault(variable, []).append(program)
    shared = {variable for variable, programs in readers.items() if len(programs) >= SHARED_BY}
    parts = [HEAD, _section("All or most services", _of(shared, readers))]
    for program, kind in PROGRAMS.items():
        parts.append(_section(f"`{program}`", (row for row in variables(kind) if row[0] not in shared)))
    rest = [f"| {' | '.join(cells)} |" for cells in OTHERS]
    return "\n".join([*parts, "## The `lutlab` command, and others\n", *TABLE, *rest]) + "\n"


def _of(shared: set[str], readers: dict[str, list[str]]) -> Iterator[tuple[str, FieldInfo]]:
    """The shared variables, each as the first program that reads it has it, in that program's order."""
    for program, kind in PROGRAMS.items():
        yield from (row for row in variables(kind) if row[0] in shared and readers[row[0]][0] == program)


def _section(title: str, rows: Iterator[tuple[str, FieldInfo]]) -> str:
    lines = [f"## {title}\n", *TABLE]
    for variable, field in rows:
        default = OWN_DEFAULT.get(variable) or _cell(default_of(field))
        lines.append(f"| `{variable}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def _cell(default: str) -> str:
    return default if default in ("not set", "must be set") else f"`{default}`"


if __name__ == "__main__":
    sys.stdout.write(page())
