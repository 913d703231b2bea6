"""Servers for tests: given URLs, containers where asked for, otherwise the embedded wheels.

| variable | effect |
|---|---|
| `LUTLAB_TEST_POSTGRES_URL` | use this server (its user may create databases); nothing is started |
| `LUTLAB_TEST_NATS_URL` | use this server for all modules; tests must then use their own site names |
| `LUTLAB_TEST_CONTAINERS=1` | start containers; images: `LUTLAB_TEST_POSTGRES_IMAGE`, `LUTLAB_TEST_NATS_IMAGE` |
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from lutlab_ledger.migrate import migrate
from lutlab_stack.nats import prepare_nats
from lutlab_stack.postgres import prepare_postgres, remove_postgres
from lutlab_stack.running import running

# A crash of the machine may lose a test database; a crash of any process may not.
FAST_SETTINGS = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on", "max_connections": "60"}
CONTAINER_TIMEOUT_S = 60.0
CONTAINERS = os.environ.get("LUTLAB_TEST_CONTAINERS") == "1"

# How long an example takes says more about the machine, and what else it does, than about the code.
settings.register_profile("lutlab", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lutlab")


def _blocking(work: Coroutine[object, object, None]) -> None:
    """Run a coroutine to its end, whatever event loop this thread has."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def database_url(server_url: str, database: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{database}"))


@contextmanager
def postgres_container() -> Iterator[str]:
    """The URL of a Postgres in a container; any image that knows the official one's variables will do."""
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - only where asked for

    password = secrets.token_hex(16)
    container = DockerContainer(os.environ.get("LUTLAB_TEST_POSTGRES_IMAGE", "postgres:17-alpine"))
    container.with_envs(POSTGRES_USER="lutlab", POSTGRES_PASSWORD=password, POSTGRES_DB="lutlab")
    with container.with_exposed_ports(5432):
        address = f"{container.get_container_host_ip()}:{container.get_exposed_port(5432)}"
        url = f"postgresql://lutlab:{password}@{address}/lutlab"
        deadline = time.monotonic() + CONTAINER_TIMEOUT_S
        while True:
            try:
                _blocking(_execute(url, "select 1"))
            except (OSError, asyncpg.PostgresError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                break
        yield url


@contextmanager
def nats_container() -> Iterator[str]:
    """The URL of a NATS in a container, token included."""
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - only where asked for
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy  # noqa: PLC0415

    token = secrets.token_hex(16)
    container = DockerContainer(os.environ.get("LUTLAB_TEST_NATS_IMAGE", "nats:2.12-alpine"))
    container.with_command(f"-js --auth {token}").with_exposed_ports(4222)
    with container.waiting_for(LogMessageWaitStrategy("Server is ready")):
        yield f"nats://{token}@{container.get_container_host_ip()}:{container.get_exposed_port(4222)}"


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder for servers that an unprivileged user can reach; pytest's own is private."""
    folder = Path(tempfile.mkdtemp(prefix="lutlab-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server_url(server_folder: Path) -> Iterator[str]:
    """A Postgres server for the whole session."""
    given = os.environ.get("LUTLAB_TEST_POSTGRES_URL")
    with ExitStack() as stack:
        if given:
            yield given
        elif CONTAINERS:
            yield stack.enter_context(postgres_container())
        else:
            base = server_folder / "postgres"
            stack.callback(remove_postgres, base)
            cluster = prepare_postgres(base, settings=FAST_SETTINGS)
            stack.enter_context(running(cluster, server_folder / "postgres.log"))
            yield cluster.url()


@pytest.fixture(scope="session")
def migrated_template(postgres_server_url: str) -> Iterator[str]:
    """The name of a migrated database to copy from."""
    name = f"lutlab_template_{uuid4().hex[:12]}"
    _blocking(_execute(postgres_server_url, f"create database {name}"))
    _blocking(migrate(database_url(postgres_server_url, name)))
    yield name
    _blocking(_execute(postgres_server_url, f"drop database {name} with (force)"))


@pytest.fixture(scope="module")
def postgres_url(postgres_server_url: str, migrated_template: str) -> Iterator[str]:
    """A fresh, migrated database of this test module, as `postgresql://...`."""
    name = f"lutlab_test_{uuid4().hex[:12]}"
    _blocking(_execute(postgres_server_url, f"create database {name} template {migrated_template}"))
    yield database_url(postgres_server_url, name)
    _blocking(_execute(postgres_server_url, f"drop database {name} with (force)"))


@pytest.fixture(scope="module")
def nats_url(server_folder: Path) -> Iterator[str]:
    """A fresh NATS server with JetStream of this test module; the URL has its token."""
    given = os.environ.get("LUTLAB_TEST_NATS_URL")
    with ExitStack() as stack:
        if given:
            yield given
        elif CONTAINERS:
            yield stack.enter_context(nats_container())
        else:
            base = server_folder / f"nats-{uuid4().hex[:12]}"
            stack.callback(shutil.rmtree, base, ignore_errors=True)
            server = prepare_nats(base)
            stack.enter_context(running(server, server_folder / "nats.log"))
            yield server.url
