"""The command line explains what is missing or wrong, without a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from lutlab_board_agent.__main__ import main
from lutlab_board_agent.adapters.state_file import held

LAB = """\
[[board]]
key = "b0"
profile = "lfe5u-25f"
[board.cable]
kind = "xvc-client"
host = "127.0.0.1"
port = 1
[board.serial]
path = "/dev/ttyUSB0"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("LUTLAB_SITE", "LUTLAB_AGENT_ID", "LUTLAB_AGENT_LAB_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LUTLAB_AGENT_DATA_DIR", str(tmp_path))
    # Logging belongs to the process, which here is that of all tests.
    monkeypatch.setattr("lutlab_board_agent.__main__.setup_logging", lambda *_, **__: None)
    (tmp_path / "good.toml").write_text(LAB)
    (tmp_path / "bad.toml").write_text('[[board]]\nkey = "b0"\nprofil = "x"\n')
    return tmp_path


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({}, "LUTLAB_AGENT_LAB_FILE is not set: the TOML file"),
        ({"LUTLAB_AGENT_LAB_FILE": "none.toml"}, "cannot be read"),
        ({"LUTLAB_AGENT_LAB_FILE": "bad.toml"}, "bad.toml, line 3: Object contains unknown field `profil`"),
        ({"LUTLAB_AGENT_LAB_FILE": "good.toml", "LUTLAB_SITE": "a b"}, "LUTLAB_SITE: 'a b' must be"),
        ({"LUTLAB_AGENT_LAB_FILE": "good.toml", "LUTLAB_AGENT_ID": "a.b"}, "LUTLAB_AGENT_ID: 'a.b' must"),
        ({"LUTLAB_AGENT_LAB_FILE": "good.toml", "LUTLAB_AGENT_LOADER": "/none"}, "no usable openFPGALoader: /none"),
    ],
)
def test_mistakes(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, str],
    part: str,
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, str(folder / value) if name.endswith("FILE") else value)
    assert main(["--check"]) == 2
    assert part in capsys.readouterr().err


def test_a_second_agent_with_the_same_data_folder_says_so_and_a_check_touches_nothing_of_the_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LUTLAB_AGENT_LAB_FILE", str(folder / "good.toml"))
    (folder / "loading").mkdir()
    being_loaded = folder / "loading" / "x.bit"
    being_loaded.touch()
    with held(folder):
        assert main([]) == 2
        assert f"another agent is running with the data folder {folder}" in capsys.readouterr().err
        assert main(["--check"]) == 0
        assert "b0: /dev/ttyUSB0: such a name may be another board's tomorrow" in capsys.readouterr().err
    assert being_loaded.exists()


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    for name in ("LAB_FILE", "DATA_DIR", "AGENT_ID", "LOADER", "SITE", "NATS_URL", "NKEY_SEED_FILE", "[[board]]"):
        assert name in said
