"""What an operator can set: environment variables that begin with LUTLAB_BUILDER_."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

import lutlab_profiles
from lutlab_builder.app.ports import Limits
from lutlab_builder.app.stages import StageLimits
from lutlab_events.subjects import token

MIB = 1 << 20


def default_cache_dir() -> Path:
    """`lutlab` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lutlab"


def default_builder_id() -> str:
    """A valid name from the host's: what may not stand in a subject becomes `-`."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", socket.gethostname()).strip("-")[:48] or "builder"


class Settings(BaseSettings):
    """Read once, in `__main__`.

    Attributes:
        cache_dir: LUTLAB_CACHE_DIR, the folder for whatever can be made again.
        site: LUTLAB_SITE, the lab's name.
        nats_url: LUTLAB_NATS_URL, one or several servers separated by commas.
        nats_nkey_file, nats_token: LUTLAB_NATS_NKEY_SEED_FILE, LUTLAB_NATS_TOKEN, where NATS asks for one.
        log_level: LUTLAB_LOG_LEVEL.
        id: LUTLAB_BUILDER_ID, this builder's name; every run adds something of its own to it.
        concurrency: builds at once.
        profiles: device profiles whose base design this builder provides, separated by commas, or `all`.
        tools_dir: compiled tools; a folder in `cache_dir` if not set. May be shared by several builders of one host.
        cache_mib_max: what finished builds may take on disk.
        files_mib_max: what files of verification projects may take on disk, to have them at hand for the next job.
        simulators_mib_max: what compiled simulators of verification projects may take on disk.
        allow_unsandboxed: build user code with the builder's own rights on a host where no sandbox works.
        seed: nextpnr's seed; fixed, so that builds repeat.
        metrics_port: where Prometheus may ask, 0 for nowhere.
        otlp_endpoint: LUTLAB_OTLP_ENDPOINT, where traces go by OTLP over HTTP; empty: none are made.
        *_wall_s: seconds a stage may take; together less than the scheduler's LUTLAB_BUILD_DEADLINE_S, or it gives up
            on a build whose builder still has time.
        *_memory_mib: memory a stage may use.
    """

    model_config = SettingsConfigDict(env_prefix="LUTLAB_BUILDER_", frozen=True, extra="ignore", populate_by_name=True)

    cache_dir: Path = Field(default_factory=default_cache_dir, validation_alias="LUTLAB_CACHE_DIR")
    site: str = Field(default="main", validation_alias="LUTLAB_SITE")
    nats_url: str = Field(default="nats://127.0.0.1:4222", validation_alias="LUTLAB_NATS_URL")
    nats_nkey_file: Path | None = Field(default=None, validation_alias="LUTLAB_NATS_NKEY_SEED_FILE")
    nats_token: str | None = Field(default=None, validation_alias="LUTLAB_NATS_TOKEN")
    log_level: str = Field(default="INFO", validation_alias="LUTLAB_LOG_LEVEL")
    id: str = Field(default_factory=default_builder_id)
    concurrency: int = Field(default=2, ge=1, le=32)
    profiles: str = lutlab_profiles.DEFAULT_PROFILE
    tools_dir: Path | None = None
    cache_mib_max: int = Field(default=2048, ge=16)
    files_mib_max: int = Field(default=512, ge=16)
    simulators_mib_max: int = Field(default=2048, ge=16)
    allow_unsandboxed: bool = False
    seed: int = Field(default=1, ge=1)
    metrics_port: int = Field(default=0, ge=0, le=65535)
    otlp_endpoint: str = Field(default="", validation_alias="LUTLAB_OTLP_ENDPOINT")

    elaborate_wall_s: float = Field(default=120, gt=0)
    elaborate_memory_mib: int = Field(default=1536, ge=256)
    synthesize_wall_s: float = Field(default=1200, gt=0)
    synthesize_memory_mib: int = Field(default=3072, ge=512)
    place_and_route_wall_s: float = Field(default=1800, gt=0)
    place_and_route_memory_mib: int = Field(default=3072, ge=512)
    pack_wall_s: float = Field(default=180, gt=0)

    @field_validator("site", "id")
    @classmethod
    def _is_token(cls, value: str) -> str:
        return token(value)

    def profile_names(self) -> list[str]:
        """The profiles in `profiles`. Raises: UnknownProfile."""
        if self.profiles.strip() == "all":
            return lutlab_profiles.names()
        wanted = [name.strip() for name in self.profiles.split(",") if name.strip()]
        return [lutlab_profiles.get(name).name for name in wanted]

    def limits(self) -> StageLimits:
        """The limits of each stage."""
        return StageLimits(
            elaborate=Limits(
                wall_s=self.elaborate_wall_s,
                cpu_s=int(self.elaborate_wall_s) + 1,
                resident_bytes=self.elaborate_memory_mib * MIB,
                address_space_bytes=self.elaborate_memory_mib * MIB,
            ),
            synthesize=Limits(
                wall_s=self.synthesize_wall_s,
                cpu_s=int(self.synthesize_wall_s) + 1,
                resident_bytes=self.synthesize_memory_mib * MIB,
                address_space_bytes=self.synthesize_memory_mib * MIB,
                file_bytes=512 * MIB,
            ),
            # The WebAssembly runtime reserves far more address space than it uses: bound what is writable instead.
            place_and_route=Limits(
                wall_s=self.place_and_route_wall_s,
                cpu_s=2 * int(self.place_and_route_wall_s) + 1,
                resident_bytes=self.place_and_route_memory_mib * MIB,
                data_bytes=self.place_and_route_memory_mib * MIB,
                file_bytes=512 * MIB,
            ),
            pack=Limits(
                wall_s=self.pack_wall_s,
                cpu_s=2 * int(self.pack_wall_s) + 1,
                resident_bytes=self.place_and_route_memory_mib * MIB,
                data_bytes=self.place_and_route_memory_mib * MIB,
            ),
        )
