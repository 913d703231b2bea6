"""What `up` decides before it starts anything."""

from __future__ import annotations

import dataclasses
import urllib.request
from pathlib import Path

import pytest

from lutlab_stack.errors import DataDirUnusable, StackError
from lutlab_stack.lab import Lab
from lutlab_stack.layout import Layout
from lutlab_stack.services import UpOptions, Wiring
from lutlab_stack.up import up

OPTIONS = UpOptions(data_dir=Path(), host="127.0.0.1", port=8000, boards=1, profile="lfe5u-25f", cache_dir=Path())


class Silent:
    def doing(self, text: str) -> None: ...

    def progress(self, text: str, done: int, total: int) -> None: ...

    def done(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...

    def say(self, text: str) -> None: ...


async def never(lab: Lab) -> None:
    raise AssertionError


async def test_a_data_directory_that_cannot_be_made_is_told_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    options = dataclasses.replace(OPTIONS, data_dir=tmp_path / "file" / "lab")
    with pytest.raises(DataDirUnusable, match="--data-dir"):
        await up(options, Silent(), never)


async def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README.md").touch()
    tmp_path.chmod(0o755)
    with pytest.raises(DataDirUnusable, match=r"other things, README\.md for one"):
        await up(dataclasses.replace(OPTIONS, data_dir=tmp_path), Silent(), never)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    (tmp_path / "README.md").rename(tmp_path / "lost+found")
    Layout(tmp_path).make()
    Layout(tmp_path).make()


async def test_an_address_of_another_machine_is_not_called_a_taken_port(tmp_path: Path) -> None:
    options = dataclasses.replace(OPTIONS, data_dir=tmp_path, host="192.0.2.1")
    with pytest.raises(StackError, match=r"cannot listen on port 8000 of 192\.0\.2\.1 .*--host"):
        await up(options, Silent(), never)


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:0"), ("0.0.0.0", "http://127.0.0.1:0"), ("::", "http://[::1]:0"),
     ("::1", "http://[::1]:0"), ("fd00::5", "http://[fd00::5]:0")],
)  # fmt: skip
def test_the_address_is_one_that_can_be_opened(tmp_path: Path, host: str, url: str) -> None:
    assert Lab(dataclasses.replace(OPTIONS, host=host), Layout(tmp_path), Silent()).api_url == url


def test_no_process_looks_for_another_behind_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "lab.example")
    monkeypatch.delenv("no_proxy", raising=False)
    env = Wiring(options=OPTIONS, layout=Layout(tmp_path), nats_url="", database_url="").common()
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, env[variable])
    for host in ("127.0.0.1:8222", "localhost", "lab.example"):
        assert urllib.request.proxy_bypass(host)
    assert not urllib.request.proxy_bypass("elsewhere.example")
