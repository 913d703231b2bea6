"""What `up` starts: the command line and environment of each process."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lutlab_stack.lab_file import DeclaredBoard, some_boards
from lutlab_stack.layout import Layout
from lutlab_stack.spawn import ProcessSpec

AGENT_ID = "local"
SERVICE_GRACE_S = 8.0
LOOPBACK = "127.0.0.1,localhost,::1"
"""As `NO_PROXY` lists hosts."""


@dataclass(frozen=True, kw_only=True)
class UpOptions:
    """What a person may choose.

    Attributes:
        data_dir: where everything is kept.
        host, port: where the API listens; port 0 chooses a free one and keeps it.
        boards: how many virtual boards, where there is no lab file.
        profile: their device profile.
        lab: the boards of a lab file, in place of these.
        ready_file: written once everything answers, and at each change; in addition to the data directory's own.
        postgres_url, nats_url: servers to use instead of embedded ones.
        session_ttl_s: how long an unused session lasts; None for the scheduler's default.
        public_reads: whether reading boards and jobs needs no key.
        cache_dir: what can be made again at any time: compiled tools.
    """

    data_dir: Path
    host: str
    port: int
    boards: int
    profile: str
    cache_dir: Path
    ready_file: Path | None = None
    postgres_url: str | None = None
    nats_url: str | None = None
    session_ttl_s: float | None = None
    public_reads: bool = True
    lab: tuple[DeclaredBoard, ...] = ()

    @property
    def declared(self) -> tuple[DeclaredBoard, ...]:
        """All boards of this lab."""
        return self.lab or some_boards(self.boards, self.profile)

    @property
    def profiles(self) -> tuple[str, ...]:
        """Their models, each once."""
        return tuple(dict.fromkeys(board.profile for board in self.declared))


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """What every process is told: the options, the folders, and where the servers are."""

    options: UpOptions
    layout: Layout
    nats_url: str
    database_url: str
    nats_monitor_url: str = ""

    def common(self) -> dict[str, str]:
        """Our own environment, its proxy not asked for our own servers, and where what can be made again is kept."""
        direct = ",".join(filter(None, (os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), LOOPBACK)))
        more = {"no_proxy": direct, "NO_PROXY": direct, "LUTLAB_CACHE_DIR": str(self.options.cache_dir)}
        return {**os.environ, **more}

    def bus(self) -> dict[str, str]:
        """What everybody needs who talks over NATS."""
        return {**self.common(), "LUTLAB_NATS_URL": self.nats_url}

    def ledger(self) -> dict[str, str]:
        """What the services with a database need."""
        return {**self.bus(), "LUTLAB_DATABASE_URL": self.database_url}

    def python(self, name: str, module: str, env: Mapping[str, str], *arguments: str) -> ProcessSpec:
        """A process of this environment's Python; `-P` keeps the working directory out of its module path."""
        argv = (sys.executable, "-P", "-m", module, *arguments)
        return ProcessSpec(name=name, argv=argv, env=env, cwd=self.layout.root, grace_s=SERVICE_GRACE_S)


def migrate(wiring: Wiring) -> ProcessSpec:
    """Create or upgrade the ledger's tables; ends by itself."""
    return wiring.python("migrate", "lutlab_ledger", wiring.ledger())


def warm(wiring: Wiring) -> ProcessSpec:
    """Compile tools, build base designs; ends by itself, soon if it was done before."""
    env = wiring.common() | {"LUTLAB_BUILDER_PROFILES": ",".join(wiring.options.profiles)}
    return wiring.python("warm", "lutlab_builder", env, "warm")


def scheduler(wiring: Wiring) -> ProcessSpec:
    """The only writer of the ledger."""
    env = wiring.ledger() | {"LUTLAB_DEFAULT_PROFILE": wiring.options.profiles[0]}
    if wiring.nats_monitor_url:
        env["LUTLAB_NATS_MONITOR_URL"] = wiring.nats_monitor_url
    if wiring.options.session_ttl_s is not None:
        env["LUTLAB_SESSION_TTL_S"] = f"{wiring.options.session_ttl_s:g}"
    return wiring.python("scheduler", "lutlab_scheduler", env)


def api(wiring: Wiring, port: int, key: str, webhooks_key: str) -> ProcessSpec:
    """HTTP and WebSocket."""
    env = wiring.ledger() | {
        "LUTLAB_API_HOST": wiring.options.host,
        "LUTLAB_API_PORT": str(port),
        "LUTLAB_PUBLIC_READS": "true" if wiring.options.public_reads else "false",
        "LUTLAB_BOOTSTRAP_KEY": key,
        "LUTLAB_WEBHOOKS_KEY": webhooks_key,
    }
    return wiring.python("api", "lutlab_api", env)


def webhooks(wiring: Wiring, key: str) -> ProcessSpec:
    """What delivers to subscribers."""
    return wiring.python("webhooks", "lutlab_webhooks", wiring.ledger() | {"LUTLAB_WEBHOOKS_KEY": key})


def builder(wiring: Wiring) -> ProcessSpec:
    """The toolchain."""
    env = wiring.bus() | {"LUTLAB_BUILDER_PROFILES": ",".join(wiring.options.profiles)}
    return wiring.python("builder", "lutlab_builder", env)


def board_agent(wiring: Wiring, *, check: bool = False) -> ProcessSpec:
    """What programs boards and talks to them; with `check` it looks at the lab file and ends."""
    env = wiring.bus() | {
        "LUTLAB_AGENT_ID": AGENT_ID,
        "LUTLAB_AGENT_LAB_FILE": str(wiring.layout.lab_file),
        "LUTLAB_AGENT_DATA_DIR": str(wiring.layout.agent),
    }
    name = "board-agent-check" if check else "board-agent"
    return wiring.python(name, "lutlab_board_agent", env, *(["--check"] if check else []))


def virtual_board(wiring: Wiring, index: int, profile: str, xvc_port: int) -> ProcessSpec:
    """A board without hardware."""
    options = wiring.options
    arguments = (
        *("--profile", profile),
        *("--xvc-port", str(xvc_port)),
        *("--tty-link", str(wiring.layout.tty(index))),
        *("--control", str(wiring.layout.control(index))),
        *("--cache-dir", str(options.cache_dir / "virtual-board")),
    )
    return wiring.python(f"virtual-board-{index}", "lutlab_virtual_board", wiring.common(), *arguments)
