"""The embedded Postgres: resuming, crashing, refusing, and running where its own user may not go."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from lutlab_stack import postgres, postgres_binaries
from lutlab_stack.errors import StartFailed, WrongDataVersion
from lutlab_stack.postgres import PostgresCluster, prepare_postgres, remove_postgres
from lutlab_stack.running import running

ROOT = os.geteuid() == 0
QUICK = {"fsync": "off"}


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    """A folder everybody may pass through, with a cluster."""
    folder = Path(tempfile.mkdtemp(prefix="lutlab-test-pg-"))
    folder.chmod(0o711)
    yield folder / "postgres"
    shutil.rmtree(folder)


async def value(cluster: PostgresCluster, query: str) -> object:
    connection = await asyncpg.connect(cluster.url())
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_a_second_start_resumes_and_a_crash_loses_nothing(base: Path) -> None:
    cluster = prepare_postgres(base)
    with running(cluster, base.parent / "log") as pid:
        await value(cluster, "create table kept (x int)")
        await value(cluster, "insert into kept values (42)")
        os.kill(pid, signal.SIGKILL)
    again = prepare_postgres(base)
    assert again.url() == cluster.url()
    with running(again, base.parent / "log"):
        assert await value(again, "select x from kept") == 42
        assert await value(again, "show data_checksums") in {"on", "off"}


async def test_two_servers_never_share_a_data_directory(base: Path) -> None:
    cluster = prepare_postgres(base)
    with running(cluster, base.parent / "log"):
        second = prepare_postgres(base)
        with pytest.raises(StartFailed, match="already exists"), running(second, base.parent / "log2"):
            pass
        assert await value(cluster, "select 1") == 1


def test_data_of_another_version_is_refused_by_name(base: Path) -> None:
    version = prepare_postgres(base).data / "PG_VERSION"
    mine = version.read_text()
    version.write_text("9.6\n")
    try:
        with pytest.raises(WrongDataVersion, match=r"made by Postgres 9\.6"):
            prepare_postgres(base)
    finally:
        version.write_text(mine)


def test_secrets_are_private(base: Path) -> None:
    prepare_postgres(base)
    assert (base / "password").stat().st_mode & 0o077 == 0
    assert (base / "data").stat().st_mode & 0o077 == 0
    assert not (base / "password.initdb").exists()


@pytest.mark.skipif(not ROOT, reason="only root needs another user for Postgres")
async def test_below_a_private_folder_the_data_goes_elsewhere_and_is_pruned(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "FALLBACK_ROOT", base.parent / "elsewhere" / "homes")
    tmp_path.chmod(0o700)
    private = tmp_path / "postgres"
    cluster = prepare_postgres(private, settings=QUICK)
    assert cluster.data.is_relative_to(base.parent / "elsewhere")
    assert str(cluster.base) in (private / "README").read_text()
    with running(cluster, tmp_path / "log"):
        assert await value(cluster, "select 1") == 1
    assert prepare_postgres(private, settings=QUICK).data == cluster.data

    shutil.rmtree(private)
    other = prepare_postgres(tmp_path / "other", settings=QUICK)
    assert not cluster.base.exists()
    remove_postgres(tmp_path / "other")
    assert not other.base.exists()


@pytest.mark.skipif(not ROOT, reason="only root needs another user for Postgres")
def test_binaries_below_a_private_folder_are_copied_once(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = postgres_binaries.find_binaries()
    assert found.wheel is not None
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    for part in (postgres_binaries.WHEEL, f"{postgres_binaries.WHEEL}.libs"):
        (private / part).symlink_to(found.wheel / part)
    hidden = postgres_binaries.PostgresBinaries(
        folder=private / postgres_binaries.WHEEL / "pginstall" / "bin", major=found.major, wheel=private
    )
    monkeypatch.setattr(postgres_binaries, "CACHE_ROOTS", (base.parent,))
    monkeypatch.setattr(postgres_binaries, "reachable", lambda path, _: path.is_relative_to(base.parent))
    identity = postgres_binaries.service_identity()
    copied = postgres_binaries.within_reach(hidden, identity)
    assert copied.folder.is_relative_to(base.parent / "lutlab")
    stamp = copied.folder.stat().st_ctime_ns
    assert postgres_binaries.within_reach(hidden, identity) == copied
    assert copied.folder.stat().st_ctime_ns == stamp
    as_other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", copied.folder / "initdb", "-V"]
    subprocess.run(as_other, check=True)


@pytest.mark.skipif(not ROOT or shutil.which("setpriv") is None, reason="only root can become somebody else")
def test_an_ordinary_user_starts_it_directly(base: Path) -> None:
    code = """
import sys
from pathlib import Path
from lutlab_stack.postgres import prepare_postgres
from lutlab_stack.running import running
base = Path(sys.argv[1])
cluster = prepare_postgres(base / "postgres", settings={"fsync": "off"})
with running(cluster, base / "log"):
    print(cluster.identity)
"""
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    probe = subprocess.run([*become, sys.executable, "-c", "import lutlab_stack"], check=False, cwd="/")
    if probe.returncode != 0:
        pytest.skip("an ordinary user cannot reach this Python")
    folder = base.parent / "ordinary"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    ran = subprocess.run(
        [*become, sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False, cwd="/"
    )
    assert (ran.returncode, ran.stdout) == (0, "None\n"), ran.stderr
