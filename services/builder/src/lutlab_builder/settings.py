"""What an operator can set: environment variables, those of its own begin with LUTLAB_BUILDER_."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

import lutlab_profiles
from lutlab_builder.app.ports import Limits
from lutlab_builder.app.stages import StageLimits
from lutlab_transport.settings import Name, ServiceSettings, host_name

MIB = 1 << 20
ID_CHARS_MAX = 48


def default_cache_dir() -> Path:
    """`lutlab` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lutlab"


def default_builder_id() -> str:
    """A name from the host's, with room for what a run adds to it."""
    return host_name("builder", ID_CHARS_MAX)


class Settings(ServiceSettings):
    """The builder's settings. Its builds' limits of time are together less than the scheduler's `build_deadline_s`."""

    model_config = SettingsConfigDict(env_prefix="LUTLAB_BUILDER_")

    cache_dir: Path = Field(
        default_factory=default_cache_dir,
        validation_alias="LUTLAB_CACHE_DIR",
        description="the folder for whatever can be made again (default: `lutlab` in the user's cache folder)",
    )
    id: Name = Field(
        default_factory=default_builder_id,
        description="this builder's name; every run adds something of its own to it (default: from the host's)",
    )
    concurrency: int = Field(default=2, ge=1, le=32, description="builds at once")
    profiles: str = Field(
        default=lutlab_profiles.DEFAULT_PROFILE,
        description="device profiles whose base design this builder provides, separated by commas, or `all`",
    )
    tools_dir: Path | None = Field(
        default=None,
        description="compiled tools; a folder in LUTLAB_CACHE_DIR if not set; several builders of a host may share it",
    )
    cache_mib_max: int = Field(default=2048, ge=16, description="what finished builds may take on disk")
    files_mib_max: int = Field(
        default=512,
        ge=16,
        description="what files of verification projects may take on disk, to have them at hand for the next job",
    )
    simulators_mib_max: int = Field(
        default=2048, ge=16, description="what compiled simulators of verification projects may take on disk"
    )
    allow_unsandboxed: bool = Field(
        default=False, description="build user code with the builder's own rights on a host where no sandbox works"
    )
    seed: int = Field(default=1, ge=1, description="nextpnr's seed; fixed, so that builds repeat")
    metrics_port: int = Field(default=0, ge=0, le=65535, description="where Prometheus may ask; 0 for nowhere")

    elaborate_wall_s: float = Field(default=120, gt=0, description="time for elaboration")
    elaborate_memory_mib: int = Field(default=1536, ge=256, description="memory for elaboration")
    synthesize_wall_s: float = Field(default=1200, gt=0, description="time for synthesis")
    synthesize_memory_mib: int = Field(default=3072, ge=512, description="memory for synthesis")
    place_and_route_wall_s: float = Field(default=1800, gt=0, description="time for placing and routing")
    place_and_route_memory_mib: int = Field(
        default=3072, ge=512, description="memory for placing and routing, and for packing"
    )
    pack_wall_s: float = Field(default=180, gt=0, description="time for packing the bitstream")

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
