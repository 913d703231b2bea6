"""Which lab the client talks to."""

from __future__ import annotations

import json
import os
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from typer.testing import CliRunner

from lutlab.cli import app
from lutlab.client import Client
from lutlab.config import Endpoint, resolve, stored_path
from lutlab.errors import NotConfigured


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LUTLAB_API_URL", raising=False)
    monkeypatch.delenv("LUTLAB_API_KEY", raising=False)
    monkeypatch.setenv("LUTLAB_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def lab_runs(folder: Path) -> None:
    (folder / "ready.json").write_text(json.dumps({"api_url": "http://127.0.0.1:5", "api_key": "own"}))


def test_without_any_lab_the_way_out_is_named() -> None:
    with pytest.raises(NotConfigured, match="lutlab up"):
        resolve()


def test_the_lab_that_runs_here_is_found(tmp_path: Path) -> None:
    lab_runs(tmp_path)
    assert resolve() == Endpoint("http://127.0.0.1:5", "own")


def test_arguments_come_before_the_environment_and_that_before_a_running_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab_runs(tmp_path)
    monkeypatch.setenv("LUTLAB_API_URL", "http://env/")
    monkeypatch.setenv("LUTLAB_API_KEY", "env")
    assert resolve() == Endpoint("http://env", "env")
    assert resolve("http://arg", "arg") == Endpoint("http://arg", "arg")


def test_the_key_of_the_lab_here_is_never_sent_elsewhere(tmp_path: Path) -> None:
    lab_runs(tmp_path)
    assert resolve("http://elsewhere") == Endpoint("http://elsewhere", None)
    assert resolve("http://127.0.0.1:5/") == Endpoint("http://127.0.0.1:5", "own")


def test_a_damaged_ready_file_is_no_lab(tmp_path: Path) -> None:
    (tmp_path / "ready.json").write_text("{")
    with pytest.raises(NotConfigured):
        resolve()


def keep(*arguments: str) -> None:
    assert CliRunner().invoke(app, ["config", "set", *arguments], catch_exceptions=False).exit_code == 0


def test_a_kept_key_is_for_its_lab_only_and_private() -> None:
    keep("api-url", "https://lab.example/")
    keep("token", "mine")
    assert resolve() == Endpoint("https://lab.example", "mine")
    assert resolve("https://lab.example/", "other") == Endpoint("https://lab.example", "other")
    assert resolve("https://elsewhere") == Endpoint("https://elsewhere", None)
    assert stored_path().stat().st_mode & 0o777 == 0o600
    keep("token", "")
    assert resolve() == Endpoint("https://lab.example", None)
    keep("api-url", "")
    with pytest.raises(NotConfigured):
        resolve()


def test_the_lab_that_runs_here_comes_before_the_kept_one(tmp_path: Path) -> None:
    keep("api-url", "https://lab.example")
    lab_runs(tmp_path)
    assert resolve() == Endpoint("http://127.0.0.1:5", "own")
    keep("token", "narrower")
    assert resolve() == Endpoint("http://127.0.0.1:5", "narrower")


def shown() -> str:
    return CliRunner().invoke(app, ["config", "show"], catch_exceptions=False).stdout


def test_who_names_the_lab_is_shown_but_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep("api-url", "https://lab.example")
    assert shown() == f"lab  https://lab.example  (from {stored_path()})\nkey  none\n"
    taken = CliRunner().invoke(app, ["config", "set", "token", "-"], input="secret\n", catch_exceptions=False)
    assert (taken.exit_code, resolve().api_key) == (0, "secret")
    assert shown().endswith(f"key  from {stored_path()}\n")
    lab_runs(tmp_path)
    assert shown() == "lab  http://127.0.0.1:5  (from the lab that runs here)\nkey  from the lab that runs here\n"
    monkeypatch.setenv("LUTLAB_API_KEY", "secret")
    assert shown().endswith("key  from LUTLAB_API_KEY\n")


def test_a_key_without_a_lab_is_not_kept() -> None:
    with pytest.raises(NotConfigured, match="which lab"):
        keep("token", "mine")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "lab.example", "ftp://lab.example"])
def test_what_is_no_url_is_told_before_anybody_is_asked(url: str) -> None:
    with pytest.raises(NotConfigured, match="http://"):
        resolve(url)


@pytest.mark.parametrize("url", ["http://[::1", "http://lab:80o0", "http://", "http:///fpga"])
def test_a_mistyped_url_is_told_and_no_traceback(url: str) -> None:
    with pytest.raises(NotConfigured, match="is no lab's URL"):
        resolve(url)


@pytest.mark.parametrize("key", ["schlüssel", "two\nlines"])
def test_a_key_that_no_header_can_carry_is_told_but_not_shown(key: str) -> None:
    with pytest.raises(NotConfigured, match="copy it again") as caught:
        resolve("http://lab", key)
    assert key not in str(caught.value)
    assert resolve("http://lab", " good\n") == Endpoint("http://lab", "good")
    assert "good" not in repr(resolve("http://lab", "good"))


def test_an_empty_variable_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab_runs(tmp_path)
    monkeypatch.setenv("LUTLAB_API_URL", "")
    monkeypatch.setenv("LUTLAB_API_KEY", "")
    assert resolve() == Endpoint("http://127.0.0.1:5", "own")


def test_a_lab_that_was_killed_is_not_believed(tmp_path: Path) -> None:
    keep("api-url", "https://lab.example")
    lab_runs(tmp_path)
    ended = subprocess.Popen(["true"])
    ended.wait()
    (tmp_path / "lock").write_text(f"{ended.pid}\n")
    assert resolve() == Endpoint("https://lab.example")
    keep("api-url", "")
    with pytest.raises(NotConfigured, match=r"was killed.*lutlab up"):
        resolve()
    (tmp_path / "lock").write_text(f"{os.getpid()}\n")
    assert resolve() == Endpoint("http://127.0.0.1:5", "own")


def test_a_lab_on_this_machine_is_not_looked_for_behind_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lab(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_: object) -> None: ...

    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Lab) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            for host in ("127.0.0.1", "localhost"):
                with Client(f"http://{host}:{server.server_port}") as lab:
                    assert lab.boards() == []
        finally:
            server.shutdown()
    assert not Endpoint("http://lab.example").is_here
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1:1")
    with pytest.raises(NotConfigured, match="NO_PROXY"):
        Client("http://lab.example")


def test_a_user_without_a_home_can_name_a_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for variable in ("LUTLAB_DATA_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    assert resolve("http://lab") == Endpoint("http://lab")


def test_a_damaged_file_of_kept_things_is_told() -> None:
    stored_path().parent.mkdir(parents=True)
    stored_path().write_text("{")
    with pytest.raises(NotConfigured, match=r"client\.json"):
        resolve()
