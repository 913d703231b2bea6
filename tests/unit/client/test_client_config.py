"""Which lab the client talks to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lutlab.config import Endpoint, resolve
from lutlab.errors import NotConfigured


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LUTLAB_API_URL", raising=False)
    monkeypatch.delenv("LUTLAB_API_KEY", raising=False)
    monkeypatch.setenv("LUTLAB_DATA_DIR", str(tmp_path))


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
