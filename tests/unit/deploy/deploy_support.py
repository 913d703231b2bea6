"""The shipped NATS configuration on real servers: ports and folders are exchanged for free ones, nothing else."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from nats.aio.client import Client

from lutlab_stack.nats import find_nats_server
from lutlab_stack.running import running
from lutlab_stack.spawn import ProcessSpec
from lutlab_transport.connection import connect

REPO = Path(__file__).resolve().parents[3]
DEPLOY = REPO / "deploy"
NATS = DEPLOY / "nats"
READY_TIMEOUT_S = 20.0


def load_accounts() -> ModuleType:
    """`deploy/nats/accounts.py`, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("deploy_accounts", NATS / "accounts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class NatsProcess:
    """A nats-server on a configuration file; it writes the ports it chose beside it."""

    name: str
    config: Path

    def spec(self) -> ProcessSpec:
        """The process to start."""
        argv = (str(find_nats_server()), "-c", str(self.config))
        return ProcessSpec(name=self.name, argv=argv, env={"NATS_SERVER_NAME": self.name}, cwd=self.config.parent)

    def is_ready(self, pid: int) -> bool:
        """Whether it listens."""
        return self._ports_file(pid).exists() and "nats" in self.ports(pid)

    def _ports_file(self, pid: int) -> Path:
        return self.config.parent / f"nats-server_{pid}.ports"

    def ports(self, pid: int) -> dict[str, list[str]]:
        """Where it listens, by kind."""
        try:
            found = json.loads(self._ports_file(pid).read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        assert isinstance(found, dict)
        return found


def adapt(text: str, exchanged: dict[str, str]) -> str:
    """`text` with each key, which must be there exactly once, replaced."""
    for old, new in exchanged.items():
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in the shipped configuration"
        text = text.replace(old, new)
    return text


def hub_text(folder: Path) -> str:
    """The shipped hub.conf, on free loopback ports and with its data in `folder`."""
    text = adapt(
        (NATS / "hub.conf").read_text(),
        {
            '"0.0.0.0:4222"': '"127.0.0.1:-1"',
            '"127.0.0.1:8222"': '"127.0.0.1:-1"',
            '"0.0.0.0:7422"': '"127.0.0.1:-1"',
            '"/data"': json.dumps(str(folder / "data")),
        },
    )
    return f"ports_file_dir: {json.dumps(str(folder))}\n{text}"


def cluster_text(routes: list[int], index: int) -> str:
    """The shipped cluster.conf of the server with this index; all three are on this machine."""
    exchanged = {"0.0.0.0:6222": f"127.0.0.1:{routes[index]}"}
    exchanged |= {f"nats://nats-{other}:6222": f"nats://127.0.0.1:{port}" for other, port in enumerate(routes)}
    return adapt((NATS / "cluster.conf").read_text(), exchanged)


def leaf_text(folder: Path) -> str:
    """The shipped leaf.conf on a free loopback port."""
    text = adapt((NATS / "leaf.conf").read_text(), {'"0.0.0.0:4222"': '"127.0.0.1:-1"'})
    return f"ports_file_dir: {json.dumps(str(folder))}\n{text}"


@dataclass(frozen=True)
class Running:
    """A started server and the seeds of its clients; `leaf_url` is empty where it takes no leaf nodes.

    Attributes:
        monitor_urls: its monitoring port, one URL for each address it is open on.
    """

    url: str
    leaf_url: str
    seeds: Path
    pid: int
    monitor_urls: list[str]

    @asynccontextmanager
    async def client(self, client: str, *, lab: str = "main", inbox: str = "_INBOX") -> AsyncIterator[Client]:
        """Connected as this client, through lutlab's own transport."""
        nc = await connect(self.url, name=client, nkey_seed_file=self.seeds / lab / f"{client}.nk", inbox=inbox)
        try:
            yield nc
        finally:
            await nc.close()


@contextmanager
def started(folder: Path, name: str, text: str, seeds: Path) -> Iterator[Running]:
    """Run a server with this configuration; `folder` must hold what the text includes."""
    config = folder / f"{name}.conf"
    config.write_text(text)
    server = NatsProcess(name, config)
    with running(server, folder / f"{name}.log", timeout_s=READY_TIMEOUT_S) as pid:
        listening = re.search(r"Listening for leafnode connections on (\S+)", (folder / f"{name}.log").read_text())
        leaf_url = f"nats-leaf://{listening[1]}" if listening else ""
        ports = server.ports(pid)
        yield Running(ports["nats"][0], leaf_url, seeds, pid, ports.get("monitoring", []))
