"""Which lab the client talks to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lutlab.cli import app
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


def test_a_key_without_a_lab_is_not_kept() -> None:
    with pytest.raises(NotConfigured, match="which lab"):
        keep("token", "mine")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "lab.example", "ftp://lab.example"])
def test_what_is_no_url_is_told_before_anybody_is_asked(url: str) -> None:
    with pytest.raises(NotConfigured, match="http://"):
        resolve(url)


def test_a_damaged_file_of_kept_things_is_told() -> None:
    stored_path().parent.mkdir(parents=True)
    stored_path().write_text("{")
    with pytest.raises(NotConfigured, match=r"client\.json"):
        resolve()
