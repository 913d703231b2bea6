"""The log: proven, exported, followed, asked about the past; dead letters; views rebuilt from it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import typer

from lutlab.audit import Audit
from lutlab.client import Client
from lutlab.commands.common import AsJson, DataDir, note, out, out_json, out_table, with_lab
from lutlab.config import ready
from lutlab.errors import LutlabError, NotConfigured
from lutlab.text import shortened
from lutlab.ui import Screen, screen
from lutlab_ledger.verify import Noted, verify
from lutlab_stack.layout import default_data_dir

EXIT_DAMAGED = 1
REASON_CHARS_MAX = 80

DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database-url", help="Postgres. Default: $LUTLAB_DATABASE_URL, or that of the lab running here."),
]
Stream = Annotated[str | None, typer.Option("--stream", help="Only this stream, e.g. board-3.")]
Type = Annotated[str | None, typer.Option("--type", help="Only this type; `board.` for all that begin so.")]
Actor = Annotated[str | None, typer.Option("--actor", help="Only what this actor caused.")]
Correlation = Annotated[str | None, typer.Option("--correlation", help="Only what one request caused.")]
Since = Annotated[str | None, typer.Option("--since", help="Only from this moment on, e.g. 2026-03-04T05:06:07Z.")]
Before = Annotated[str | None, typer.Option("--before", help="Only before this moment.")]

audit = typer.Typer(no_args_is_help=True, help="The log: prove it, export it, ask it about the past.")
deadletters = typer.Typer(no_args_is_help=True, help="Messages nobody could do anything with; for admins.")


def database_url(given: str | None, data_dir: Path | None) -> str:
    """The ledger's database. Raises: NotConfigured."""
    url = given or os.environ.get("LUTLAB_DATABASE_URL")
    if url is None:
        url = (ready(data_dir or default_data_dir()) or {}).get("database_url")
    if url is None:
        raise NotConfigured(
            "which database? Start a lab with `lutlab up`, or give --database-url (or LUTLAB_DATABASE_URL)"
        )
    return str(url)


def conditions_of(**given: str | None) -> dict[str, str]:
    """Those that were given, by the names of the API."""
    return {name: value for name, value in given.items() if value is not None}


@audit.command("verify")
def verify_log(
    *,
    noted: Annotated[
        str | None,
        typer.Option("--noted", metavar="POSITION:HASH", help="An end that an earlier walk printed; must still be in."),
    ] = None,
    database: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Walk the log's hash chain; show where it was tampered with. Prints the log's end."""
    try:
        before = None if noted is None else Noted.parse(noted)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    url = database_url(database, data_dir)
    with screen(sys.stderr) as live:
        try:
            verdict = asyncio.run(
                verify(url, noted=before, on_progress=lambda done, total: live.progress("walking", done, total))
            )
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise LutlabError(f"the database cannot be read: {error}") from error
        if verdict.intact:
            live.done(f"{verdict.events} events in {verdict.streams} streams: no gap, every hash fits")
    out(str(verdict.end))
    for damage in verdict.damages:
        note(f"position {damage.position}: {damage.problem}")
    if not verdict.intact:
        places = "place" if verdict.damaged == 1 else "places"
        note(f"the log was tampered with: {verdict.damaged} damaged {places} in {verdict.events} events")
        raise typer.Exit(EXIT_DAMAGED)


@audit.command()
@with_lab
def export(
    lab: Client,
    *,
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values instead of JSON lines.")] = False,
    stream: Stream = None,
    type_: Type = None,
    actor: Actor = None,
    correlation: Correlation = None,
    since: Since = None,
    before: Before = None,
    after: Annotated[int, typer.Option("--after", min=0, help="Only after this position.")] = 0,
) -> None:
    """Print the whole log, or what the conditions leave of it."""
    wanted = conditions_of(
        stream=stream,
        type=type_,
        actor=actor,
        correlation_id=correlation,
        since=since,
        before=before,
        after=str(after),
    )
    for text in Audit(lab).export("csv" if csv else "jsonl", wanted):
        sys.stdout.write(text)


@audit.command()
@with_lab
def state(
    lab: Client,
    *,
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="E.g. board-3, job-..., agent-..., profile-...")],
    at: Annotated[str | None, typer.Option("--at", help="A position of the log, or a moment. Default: now.")] = None,
) -> None:
    """Show what the lab believed at a moment. It is the stream, folded up to there."""
    out_json(Audit(lab).state(stream, at))


@audit.command()
@with_lab
def commands(
    lab: Client,
    *,
    code: Annotated[str | None, typer.Option("--code", help="Only with this answer: ok, or a refusal's code.")] = None,
    rejected: Annotated[bool, typer.Option("--rejected", help="Only refused ones.")] = False,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """List what was asked and how it was answered, newest first."""
    wanted = conditions_of(code=code, actor=actor, rejected="true" if rejected else None)
    found = Audit(lab).commands(wanted)
    if as_json:
        out_json(found)
        return
    rows = [
        (c["received_at"], c["type"], c["actor"], c["code"], shortened(c["message"], REASON_CHARS_MAX)) for c in found
    ]
    out_table(("received", "command", "by", "answer", "reason"), rows)


# -- dead letters ------------------------------------------------------------------------------------


@deadletters.command("list")
@with_lab
def list_letters(
    lab: Client,
    *,
    replayed: Annotated[bool, typer.Option("--replayed", help="Also those that were sent again.")] = False,
    as_json: AsJson = False,
) -> None:
    """List dead letters, newest first, each with the reason."""
    found = Audit(lab).letters(replayed=replayed)
    if as_json:
        out_json(found)
        return
    rows = [
        (x["letter_id"], x["arrived_at"], x["subject"] or x["origin"], shortened(x["reason"], REASON_CHARS_MAX))
        for x in found
    ]
    out_table(("letter", "arrived", "subject", "reason"), rows)


@deadletters.command("replay")
@with_lab
def replay_letters(
    lab: Client,
    *,
    letters: Annotated[list[str] | None, typer.Argument(metavar="LETTER", help="Which ones.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every one that was not replayed yet.")] = False,
) -> None:
    """Send dead letters again, to where they came from. What still makes no sense is back at once."""
    if bool(letters) == everything:
        raise typer.BadParameter("say which letters, or --all")
    log = Audit(lab)
    wanted = [x["letter_id"] for x in reversed(log.letters())] if everything else letters or []
    for letter_id in wanted:
        log.replay_letter(letter_id)
        out(letter_id)


# -- views -------------------------------------------------------------------------------------------


def replay(
    *,
    projection: Annotated[
        str,
        typer.Argument(
            metavar="PROJECTION",
            help="boards, jobs, agents, api_keys, profiles, webhooks, projects, verifications, or all.",
        ),
    ] = "all",
    check: Annotated[
        bool, typer.Option("--verify", help="Change nothing: rebuild beside the live views and compare.")
    ] = False,
    database: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Rebuild a view from the log while the lab runs."""
    # The fold is the scheduler's; it runs as a process of its own, as every service does.
    argv = [sys.executable, "-m", "lutlab_scheduler.replay", projection, *(["--verify"] if check else [])]
    env = {**os.environ, "LUTLAB_DATABASE_URL": database_url(database, data_dir)}
    outcome: dict[str, Any] = {}
    with screen(sys.stderr) as live, subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            outcome = json.loads(line)
            if "progress" in outcome:
                live.progress(outcome["progress"], outcome["done"], outcome["total"])
        code = process.wait()
        if code not in {0, EXIT_DAMAGED} or "error" in outcome or "rows" not in outcome:
            raise LutlabError(outcome.get("error", f"the replay ended with code {code}"))
        _tell(live, outcome, check=check)
    if code:
        raise typer.Exit(EXIT_DAMAGED)


def _tell(live: Screen, outcome: dict[str, Any], *, check: bool) -> None:
    for view, rows in outcome["rows"].items():
        differing = outcome["differing"][view]
        told = "identical" if not differing else f"{differing} differ" if check else f"{differing} put right"
        live.done(f"{view}: {rows} rows from {outcome['events']} events up to {outcome['position']}, {told}")
    for difference in outcome["differences"]:
        for line in diff_lines(difference):
            out(line)


def diff_lines(difference: dict[str, Any]) -> list[str]:
    """A row's difference, as a diff shows it: `-` as the view had it, `+` as the log says."""
    live, rebuilt = difference["live"] or {}, difference["rebuilt"] or {}
    lines = [f"@@ {difference['view']} {difference['key']} @@"]
    for name in sorted(live.keys() | rebuilt.keys()):
        if live.get(name) != rebuilt.get(name) or not live or not rebuilt:
            lines += [f"-{name}: {json.dumps(live[name])}"] if name in live else []
            lines += [f"+{name}: {json.dumps(rebuilt[name])}"] if name in rebuilt else []
    return lines
