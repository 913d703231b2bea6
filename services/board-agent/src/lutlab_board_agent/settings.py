"""The agent's settings, read once in `__main__` from the environment."""

from __future__ import annotations

import re
import socket
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lutlab_events.subjects import token


def default_agent_id() -> str:
    """A valid name from the host's: what may not stand in a subject becomes `-`."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", socket.gethostname()).strip("-")[:64] or "agent"


class AgentSettings(BaseSettings):
    """Environment variables of `lutlab-board-agent`.

    Attributes:
        site: LUTLAB_SITE, the lab's name.
        nats_url: LUTLAB_NATS_URL, one or several servers separated by commas.
        nats_nkey_file, nats_token: LUTLAB_NATS_NKEY_SEED_FILE, LUTLAB_NATS_TOKEN, where NATS asks for one.
        id: LUTLAB_AGENT_ID, this agent's stable name within the site.
        lab_file: LUTLAB_AGENT_LAB_FILE, the TOML file that declares this host's boards.
        data_dir: LUTLAB_AGENT_DATA_DIR, where epochs are remembered; must survive restarts of the host.
        loader: LUTLAB_AGENT_LOADER, an openFPGALoader binary to use instead of the one found.
        bridge_host: LUTLAB_AGENT_BRIDGE_HOST, the address at which boards with a `bridge_port` are reached over TCP.
        log_level: LUTLAB_LOG_LEVEL.
        metrics_port: LUTLAB_AGENT_METRICS_PORT, where Prometheus may ask, 0 for nowhere.
        otlp_endpoint: LUTLAB_OTLP_ENDPOINT, where traces go by OTLP over HTTP; empty: none are made.
    """

    model_config = SettingsConfigDict(env_prefix="LUTLAB_AGENT_", frozen=True, populate_by_name=True)

    site: str = Field(default="main", validation_alias="LUTLAB_SITE")
    nats_url: str = Field(default="nats://127.0.0.1:4222", validation_alias="LUTLAB_NATS_URL")
    nats_nkey_file: Path | None = Field(default=None, validation_alias="LUTLAB_NATS_NKEY_SEED_FILE")
    nats_token: str | None = Field(default=None, validation_alias="LUTLAB_NATS_TOKEN")
    log_level: str = Field(default="INFO", validation_alias="LUTLAB_LOG_LEVEL")
    id: str = Field(default_factory=default_agent_id)
    lab_file: Path
    data_dir: Path = Path("/var/lib/lutlab/agent")
    loader: Path | None = None
    metrics_port: int = Field(default=0, ge=0, le=65535)
    otlp_endpoint: str = Field(default="", validation_alias="LUTLAB_OTLP_ENDPOINT")
    bridge_host: str = "127.0.0.1"

    @field_validator("site", "id")
    @classmethod
    def _is_token(cls, value: str) -> str:
        return token(value)
