"""The log from the client's side: following across broken connections, and the commands around it."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from lutlab import audit as client_audit
from lutlab.audit import Audit
from lutlab.cli import app
from lutlab.client import Client
from lutlab.commands.audit import diff_lines
from lutlab.errors import Refused, Unreachable


def event(position: int) -> str:
    body = {"position": position, "stream": "board-0", "version": 1, "type": "board.reset.v1"}
    data = json.dumps(body | {"at": "2026-01-01T00:00:00Z", "actor": "ada", "data": {}})
    return f"id: {position}\nevent: board.reset.v1\ndata: {data}\n\n"


class Broken(httpx.SyncByteStream):
    """A body that ends in a broken connection."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __iter__(self) -> Iterator[bytes]:
        yield self._text.encode()
        raise httpx.ReadError("connection reset")


def log(*answers: httpx.Response) -> tuple[Audit, list[httpx.Request]]:
    seen: list[httpx.Request] = []
    left = list(answers)

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return left.pop(0) if left else httpx.Response(503)

    transport = httpx.MockTransport(handle)
    return Audit(Client("http://lab", "key", transport=transport), transport=transport), seen


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_audit, "RETRY_WAIT_S", 0.0)


def heard_by(audit: Audit, after: int | None) -> list[int]:
    heard: list[int] = []
    try:
        for found in audit.follow(after, {"stream": "board-0"}, attempts_max=2):
            heard.append(found.position)
    except Unreachable:
        return heard
    raise AssertionError("following never ends by itself")


def test_a_broken_connection_is_resumed_after_what_was_heard_whole() -> None:
    half = event(3).partition("data:")[0]  # its position was told, it was not
    audit, seen = log(
        httpx.Response(200, stream=Broken(": following\nid: 1\n\n" + event(2) + half)),
        httpx.Response(200, text=": following\nid: 2\n\n" + event(3) + ": still here\n\n" + event(4)),
    )
    assert heard_by(audit, None) == [2, 3, 4]
    assert [r.headers.get("Last-Event-ID") for r in seen] == [None, "2", "4", "4"]
    assert seen[0].url.params["from_now"] == "true"
    assert seen[0].headers["X-API-Key"] == "key"


def test_who_follows_hears_of_a_silence_once_and_of_a_lab_that_is_not_there_at_once() -> None:
    audit, _ = log(httpx.Response(200, text=": following\nid: 1\n\n"))
    lost: list[str] = []
    with pytest.raises(Unreachable):
        list(audit.follow(0, {}, attempts_max=3, on_lost=lost.append))
    assert lost == ["the connection was closed"]

    def nobody(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(Unreachable, match="does not answer: refused"):
        next(Audit(Client("http://lab", "key"), transport=httpx.MockTransport(nobody)).follow(0, {}))


def test_a_refusal_is_told() -> None:
    refused = httpx.Response(403, json={"detail": {"error": "admin_only", "message": "no"}})
    audit, _ = log(refused)
    with pytest.raises(Refused, match="no"):
        next(audit.follow(0, {}))
    audit, _ = log(refused)
    with pytest.raises(Refused, match="no"):
        list(audit.export("csv", {}))


def test_an_export_passes_its_conditions_on() -> None:
    audit, seen = log(httpx.Response(200, text="a,b\n1,2\n"))
    assert "".join(audit.export("csv", {"stream": "board-3"})) == "a,b\n1,2\n"
    assert dict(seen[0].url.params) == {"format": "csv", "stream": "board-3"}


def test_a_difference_reads_like_a_diff() -> None:
    changed = {"view": "boards", "key": "1", "live": {"owner": "x", "epoch": 2}, "rebuilt": {"owner": None, "epoch": 2}}
    assert diff_lines(changed) == ["@@ boards 1 @@", '-owner: "x"', "+owner: null"]
    gone = {"view": "boards", "key": "2", "live": None, "rebuilt": {"epoch": 1}}
    assert diff_lines(gone) == ["@@ boards 2 @@", "+epoch: 1"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["events"], "say which board, or --follow"),
        (["deadletters", "replay"], "say which letters, or --all"),
        (["audit", "verify", "--noted", "12:ab", "--database-url", "postgresql://x"], "12:ab"),
    ],
)
def test_wrong_use_is_said(arguments: list[str], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTLAB_API_URL", "http://lab")
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert says in " ".join(result.output.replace("│", " ").split())


def test_replay_shows_the_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a stand-in of the process that folds."""
    lines: list[dict[str, Any]] = [
        {"progress": "checking", "done": 5, "total": 5},
        {
            "position": 5,
            "events": 5,
            "rows": {"boards": 2},
            "differing": {"boards": 1},
            "differences": [{"view": "boards", "key": "1", "live": None, "rebuilt": {"epoch": 1}}],
        },
    ]
    script = tmp_path / "python"
    said = "\n".join(json.dumps(line) for line in lines)
    script.write_text(f"#!/bin/sh\ncat <<'EOT'\n{said}\nEOT\nexit 1\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr("lutlab.commands.audit.sys.executable", os.fspath(script))
    result = CliRunner().invoke(app, ["replay", "boards", "--verify", "--database-url", "postgresql://x"])
    assert result.exit_code == 1
    assert "@@ boards 1 @@\n+epoch: 1" in result.output
    assert "boards: 2 rows from 5 events up to 5, 1 differ" in result.output
