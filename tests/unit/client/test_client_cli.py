"""The command line: output, exit codes, readable errors."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import typer
from typer.testing import CliRunner

from lutlab import cli
from lutlab.cli import app, exit_code
from lutlab.client import Client
from lutlab.commands import common
from lutlab.commands.keys import parse_expiry
from lutlab.commands.up import called
from lutlab.config import Endpoint
from lutlab.errors import JobFailed, LutlabError, NotConfigured, Refused, TimedOut, Unreachable
from lutlab.models import BuildReport, Usage
from lutlab.report import report_text
from lutlab.text import short_time, size_text, table
from lutlab.ui import PlainScreen, RichScreen, screen

Lab = Callable[..., None]


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Answer the command's requests by path."""

    def install(**answers: httpx.Response) -> None:
        def handle(request: httpx.Request) -> httpx.Response:
            return answers[request.url.path.strip("/").replace("/", "_")]

        class Faked(Client):
            def __init__(self, api_url: str | None = None, api_key: str | None = None, **_: object) -> None:
                super().__init__(api_url, api_key, transport=httpx.MockTransport(handle))

        monkeypatch.setattr(common, "Client", Faked)
        monkeypatch.setenv("LUTLAB_API_URL", "http://lab")

    return install


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    return result.exit_code, result.stdout


BOARD = {"fpga_id": 0, "state": "idle", "owner": None, "session": None, "current_job_id": None, "online": True}


def test_boards_are_a_table_or_json(lab: Lab) -> None:
    lab(fpga=httpx.Response(200, json=[BOARD, BOARD | {"fpga_id": 1, "state": "reserved", "owner": "ada"}]))
    code, out = run("boards")
    assert code == 0
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["0", "idle", "yes", "-", "-", "-"],
        ["1", "reserved", "yes", "-", "ada", "-"],
    ]
    assert '"owner": "ada"' in run("boards", "--json")[1]


def test_a_board_that_takes_no_jobs_says_why(lab: Lab) -> None:
    broken = BOARD | {"fpga_id": 1, "state": "error"}
    more = {"error": {"code": "board_in_maintenance", "message": "new cable", "stage": None}}
    lab(fpga=httpx.Response(200, json=[BOARD, broken]), api_v1_boards_1=httpx.Response(200, json=broken | more))
    code, out = run("boards")
    assert code == 0
    assert out.splitlines()[1].split() == ["0", "idle", "yes", "-", "-", "-", "-"]
    assert out.splitlines()[2].endswith("board_in_maintenance: new cable")
    assert json.loads(run("boards", "--json")[1])[1]["error"]["code"] == "board_in_maintenance"


def test_a_board_whose_reset_waits_says_what_for(lab: Lab) -> None:
    waiting = BOARD | {"fpga_id": 1, "state": "programming"}
    more = {"error": {"code": "base_design_missing", "message": "no builder ...", "stage": None}}
    lab(fpga=httpx.Response(200, json=[waiting]), api_v1_boards_1=httpx.Response(200, json=waiting | more))
    assert run("boards")[1].splitlines()[1].endswith("base_design_missing: no builder ...")
    lab(fpga=httpx.Response(200, json=[waiting]), api_v1_boards_1=httpx.Response(200, json=waiting | {"error": None}))
    assert run("boards")[1].splitlines()[1].split() == ["1", "programming", "yes", "-", "-", "-"]


def test_storage_is_told_in_words_and_numbers(lab: Lab) -> None:
    used = {"owner": "ada", "used_bytes": 1 << 30, "limit_bytes": 4 << 30, "left_bytes": 3 << 30, "blobs": 7}
    lab(api_v1_storage=httpx.Response(200, json=used))
    assert run("storage") == (0, f"ada: 1.0 GiB of 4.0 GiB (25%)\n{1 << 30} of {4 << 30} bytes in 7 different files\n")
    assert '"left_bytes": 3221225472' in run("storage", "--json")[1]
    assert [size_text(size) for size in (0, 1023, 1024, 1 << 20, 1 << 51)] == [
        "0 bytes",
        "1023 bytes",
        "1.0 KiB",
        "1.0 MiB",
        "2048.0 TiB",
    ]


def test_words_are_read_with_their_addresses(lab: Lab) -> None:
    job = {"job_id": "r", "fpga_id": 0, "status": "complete"}
    times = {"created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-02T03:04:05Z"}
    lab(
        fpga_0_run=httpx.Response(202, json=job),
        jobs_r=httpx.Response(200, json=job | {"type": "run"} | times),
        jobs_r_result=httpx.Response(200, json={"ok": True, "data": [1, 0xFFFFFFFF]}),
    )
    assert run("read", "0", "0x10", "2") == (0, "0x0010: 0x00000001  1\n0x0014: 0xffffffff  4294967295\n")
    assert json.loads(run("read", "0", "0x10", "2", "--json")[1])["words"] == [1, 0xFFFFFFFF]


@pytest.mark.parametrize("word", ["abc", "-1", "0x100000000"])
def test_a_word_that_is_none_is_refused_before_anything_is_sent(lab: Lab, word: str) -> None:
    lab()
    result = CliRunner().invoke(app, ["write", "0", "0", "--", word])
    assert result.exit_code == 2
    assert word in result.stderr


def test_a_script_learns_the_board_of_a_submit(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "top.v").write_text("module top; endmodule")
    (tmp_path / "part.v").write_text("module part; endmodule")
    times = {"created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-02T03:04:05Z"}
    job = {"job_id": "j", "fpga_id": 3, "status": "complete", "type": "build_and_program"} | times
    answer = httpx.Response(200, json=job)
    lab(submit=httpx.Response(202, json=job), jobs_j=answer, api_v1_jobs_j=answer, jobs=httpx.Response(200, json=[job]))
    files = (str(tmp_path / "top.v"), str(tmp_path / "part.v"))
    assert json.loads(run("submit", *files, "--wait", "--json")[1])["fpga_id"] == 3
    assert json.loads(run("submit", *files, "--json")[1]) == {"job_id": "j", "fpga_id": 3, "status": "complete"}
    assert run("submit", *files, "--wait") == (0, "j\n")
    assert run("jobs")[1].splitlines()[1].split() == ["j", "build", "3", "2026-01-02", "complete"]


@pytest.mark.parametrize(
    ("shell", "typed", "offered"),
    [
        ("bash", {"COMP_WORDS": "lutlab rel", "COMP_CWORD": "1"}, "release"),
        ("bash", {"COMP_WORDS": "lutlab submit --pri", "COMP_CWORD": "2"}, "--priority"),
        ("bash", {"COMP_WORDS": "lutlab read ", "COMP_CWORD": "2"}, "7"),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "lutlab logs "}, "0c6f"),
        (
            "fish",
            {"_TYPER_COMPLETE_ARGS": "lutlab job 0", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
            "0c6f\trun failed",
        ),
    ],
)
def test_shells_complete_commands_options_boards_and_jobs(
    monkeypatch: pytest.MonkeyPatch, shell: str, typed: dict[str, str], offered: str
) -> None:
    def answered(request: httpx.Request) -> httpx.Response:
        board, job = BOARD | {"fpga_id": 7}, {"job_id": "0c6f", "type": "run", "status": "failed"}
        return httpx.Response(200, json=[job if request.url.path == "/jobs" else board])

    real = Endpoint.http
    transport = httpx.MockTransport(answered)
    monkeypatch.setattr(Endpoint, "http", lambda self, timeout_s: real(self, timeout_s=timeout_s, transport=transport))
    monkeypatch.setenv("LUTLAB_API_URL", "http://lab")
    result = CliRunner().invoke(app, [], env={"_LUTLAB_COMPLETE": f"complete_{shell}", **typed}, prog_name="lutlab")
    assert offered in result.stdout, result.stdout


def test_a_lab_that_cannot_be_asked_offers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = {"_LUTLAB_COMPLETE": "complete_bash", "COMP_WORDS": "lutlab read ", "COMP_CWORD": "2"}
    monkeypatch.setenv("LUTLAB_API_URL", "http://127.0.0.1:1")
    result = CliRunner().invoke(app, [], env=typed, prog_name="lutlab")
    assert (result.stdout.strip(), result.stderr) == ("", "")


def test_a_taken_local_port_is_told_with_the_way_out(lab: Lab) -> None:
    lab()
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(LutlabError, match=r"Address already in use.*--port"),
    ):
        run("bridge", "0", "--port", str(taken.getsockname()[1]))


def test_keys_are_issued_by_name(lab: Lab) -> None:
    answer = {"api_key": "secret", "key_id": "k", "owner": "ada", "role": "member", "label": ""}
    lab(api_v1_keys=httpx.Response(201, json=answer))
    assert run("keys", "issue", "ada") == (0, "secret\n")


def test_an_expiry_is_a_time_from_now_or_a_moment_with_its_zone() -> None:
    now = datetime(2026, 3, 4, tzinfo=UTC)
    assert parse_expiry("90d", now) == now + timedelta(days=90)
    assert parse_expiry("12h", now) == now + timedelta(hours=12)
    assert parse_expiry("2026-03-05T00:00:00+00:00", now) == now + timedelta(days=1)
    for wrong in ("soon", "9", "-1d", "2026-03-05T00:00:00", "2026-03-05"):
        with pytest.raises(typer.BadParameter, match="90d"):
            parse_expiry(wrong, now)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("fpga_not_idle", "no", status=409), 1),
        (JobFailed("no"), 1),
        (NotConfigured("which"), 2),
        (Unreachable("silence"), 3),
        (TimedOut("late"), 4),
    ],
)
def test_exit_codes_tell_errors_apart(error: Exception, code: int) -> None:
    assert exit_code(error) == code


def test_an_error_is_one_sentence_and_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from lutlab.cli import main; main()", "boards", "--data-dir", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": ""})
    assert ran.returncode == 2
    assert ran.stderr.startswith("lutlab: which lab?")
    assert len(ran.stderr.splitlines()) == 1


def test_a_refusal_is_told_with_its_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refused() -> None:
        raise Refused("fpga_not_idle", "board 3 is reserved", status=409)

    monkeypatch.setattr(cli, "app", refused)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == cli.EXIT_FAILED
    assert capsys.readouterr().err == "lutlab: board 3 is reserved (fpga_not_idle)\n"


def test_next_steps_can_be_copied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own, other = tmp_path / "lutlab", tmp_path / "other"
    own.touch()
    other.touch()
    monkeypatch.setattr(sys, "argv", [str(own)])
    for found, name in ((None, str(own)), (str(other), str(own)), (str(own), "lutlab")):
        monkeypatch.setattr("lutlab.commands.up.shutil.which", lambda _, found=found: found)
        assert called() == name


def test_every_command_has_help() -> None:
    for name in ("up", "demo", "boards", "submit", "jobs", "job", "logs", "cancel", "read", "write", "release"):
        code, out = run(name, "--help")
        assert code == 0
        assert len(out.splitlines()) > 5
    told = run("--help")[1]
    assert "Exit codes" in told
    assert not [line for line in told.splitlines()[1:] if line.endswith("...")], (
        "a first sentence is too long for its line"
    )
    assert cli.HELP


def test_a_report_says_what_is_used_and_whether_timing_is_met() -> None:
    util = {"logic": Usage(used=447, available=24288), "dsp": Usage(used=0, available=28)}
    report = BuildReport(util=util, fmax_mhz=121.5, target_mhz=50.0, timing_met=True)
    assert report_text(report) == "  usage    LUT 447/24288  DSP 0/28\n  timing   Fmax 121.5 MHz, target 50 MHz: met"


def test_the_last_column_folds_to_the_terminal_and_breaks_no_id() -> None:
    rows = [("0", "waiting for a free board"), ("11", "0c6f2f7e-0000-4000-8000-000000000000")]
    assert table(("job", "status"), rows, 22) == (
        "job  status\n0    waiting for a\n     free board\n11   0c6f2f7e-0000-4000-8000-000000000000"
    )
    assert table(("a", "b"), [("1", "two words and more")], 19, cut=True) == "a  b\n1  two words and m…"
    assert table(("a", "b"), [("1", "2")], 80) == table(("a", "b"), [("1", "2")])


def test_a_column_says_the_time_of_today_and_the_date_of_other_days() -> None:
    now = datetime(2026, 3, 4, 12, tzinfo=UTC)
    assert short_time(now, now) == f"{now.astimezone():%H:%M:%S}"
    assert short_time(now - timedelta(days=2), now) == "2026-03-02"


def test_columns_are_aligned() -> None:
    assert table(("a", "b"), [("long", 1), ("x", "-")]) == "a     b\nlong  1\nx     -"


def test_the_version() -> None:
    code, out = run("--version")
    assert code == 0
    assert out.startswith("lutlab ") and out.split()[1][0].isdecimal()


def test_tools_say_how_to_get_what_is_missing(lab: Lab) -> None:
    tools = {
        "iverilog": {"available": False, "version": None, "hint": "make tools"},
        "verilator": {"available": True, "version": "5.048", "hint": None},
    }
    lab(api_v1_health=httpx.Response(200, json={"status": "ok", "tools": tools}))
    code, out = run("tools")
    assert code == 0
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["iverilog", "no", "-", "make", "tools"],
        ["verilator", "yes", "5.048"],
    ]
    assert '"available": false' in run("tools", "--json")[1]
    lab(api_v1_health=httpx.Response(200, json={"status": "ok", "tools": {}}))
    assert run("tools")[0] == 1


def test_a_terminal_that_lacks_a_sign_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(screen, encoding="ascii"))
    monkeypatch.setattr(cli, "app", lambda: common.out("\N{CHECK MARK} passed"))
    cli.main()
    sys.stdout.flush()
    assert screen.getvalue() == b"? passed\n"


@pytest.mark.parametrize(
    ("is_terminal", "variables", "kind"),
    [(True, {}, RichScreen), (False, {"FORCE_COLOR": "1"}, PlainScreen), (True, {"TERM": "dumb"}, PlainScreen)],
)
def test_only_what_can_move_lines_is_asked_to(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, variables: dict[str, str], kind: type
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: is_terminal)
    assert isinstance(screen(stream), kind)


def test_an_interrupted_wait_says_that_the_job_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), common.goes_on("job_1"):
        raise KeyboardInterrupt
    assert "lutlab cancel job_1" in capsys.readouterr().err
