"""Where everything of one lab is kept: the data directory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lutlab_stack.errors import DataDirUnusable


def home() -> Path:
    """The user's home directory; `/` for one who has none, such as a number that a container was given."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


def default_data_dir() -> Path:
    """`$LUTLAB_DATA_DIR`; otherwise /var/lib/lutlab/main for root, and lutlab in the user's data folder for others."""
    given = os.environ.get("LUTLAB_DATA_DIR")
    if given:
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/lutlab/main")
    folder = os.environ.get("XDG_DATA_HOME")
    return (Path(folder) if folder else home() / ".local" / "share") / "lutlab"


def default_cache_dir() -> Path:
    """`$LUTLAB_CACHE_DIR`, otherwise lutlab in the user's cache folder: what can be made again at any time."""
    given = os.environ.get("LUTLAB_CACHE_DIR")
    if given:
        return Path(given)
    folder = os.environ.get("XDG_CACHE_HOME")
    return (Path(folder) if folder else home() / ".cache") / "lutlab"


@dataclass(frozen=True)
class Layout:
    """Paths below the data directory `root`."""

    root: Path

    @property
    def lock(self) -> Path:
        """Held while an `up` runs."""
        return self.root / "lock"

    @property
    def api_key(self) -> Path:
        """The first admin key, readable by its owner only."""
        return self.root / "api-key"

    @property
    def webhooks_key(self) -> Path:
        """What webhook secrets are encrypted with, readable by its owner only."""
        return self.root / "webhooks-key"

    @property
    def api_port(self) -> Path:
        """The port chosen for `--port 0`."""
        return self.root / "api-port"

    @property
    def ready(self) -> Path:
        """There while the lab answers: how to reach it, and its processes."""
        return self.root / "ready.json"

    @property
    def logs(self) -> Path:
        """One file for each process."""
        return self.root / "logs"

    @property
    def postgres(self) -> Path:
        """The embedded Postgres."""
        return self.root / "postgres"

    @property
    def nats(self) -> Path:
        """The embedded NATS."""
        return self.root / "nats"

    @property
    def agent(self) -> Path:
        """What the board agent remembers."""
        return self.root / "agent"

    @property
    def lab_file(self) -> Path:
        """The boards of this host, for the board agent."""
        return self.root / "lab.toml"

    def board(self, index: int) -> Path:
        """What belongs to one virtual board."""
        return self.root / "boards" / str(index)

    def control(self, index: int) -> Path:
        """The Unix socket where a virtual board's pins are seen and set."""
        return self.board(index) / "control"

    def tty(self, index: int) -> Path:
        """The link to the terminal of one virtual board's serial line."""
        return self.board(index) / "tty"

    def log(self, name: str) -> Path:
        """The log of one process."""
        return self.logs / f"{name}.log"

    def make(self) -> None:
        """Create the folders. Private, except that root's may be passed through: Postgres has another user there.

        Raises:
            DataDirUnusable: it cannot be made or written, or is a folder of something else.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            there = {entry.name for entry in self.root.iterdir()} - {"lost+found"}
            if there and not there & {self.lock.name, self.api_key.name}:
                raise DataDirUnusable(
                    f"{self.root} holds other things, {min(there)} for one: choose an empty or a new folder for the lab"
                )
            self.root.chmod(0o711 if os.geteuid() == 0 else 0o700)
            self.lock.touch(mode=0o600)  # first: from now on it is a lab's
            for folder in (self.logs, self.agent, self.root / "boards"):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise DataDirUnusable(
                f"the data directory {self.root} cannot be used: {error}; "
                "choose another with --data-dir or LUTLAB_DATA_DIR"
            ) from error
