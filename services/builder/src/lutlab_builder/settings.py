"""What an operator can set, from `LUTLAB_...` environment variables."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

import lutlab_profiles
from lutlab_builder.app.ports import Limits
from lutlab_builder.app.stages import StageLimits
from lutlab_events.subjects import TOKEN_CHARS_MAX
from lutlab_transport.settings import EdgeSettings, Token, name_of_host

MIB = 1 << 20
RUN_CHARS = 8
"""What every run of a builder adds to its name, after a dash."""
ID_CHARS_MAX = TOKEN_CHARS_MAX - RUN_CHARS - 1


def default_cache_dir() -> Path:
    """`lutlab` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lutlab"


class Settings(EdgeSettings):
    """Read once, in `__main__`; the description of each field is in `lutlab-builder --help`."""

    model_config = SettingsConfigDict(env_prefix="LUTLAB_BUILDER_")

    cache_dir: Path = Field(
        default_factory=default_cache_dir,
        validation_alias="LUTLAB_CACHE_DIR",
        description="folder for whatever can be made again",
    )
    id: Token = Field(
        default_factory=partial(name_of_host, "builder", ID_CHARS_MAX),
        max_length=ID_CHARS_MAX,
        description="this builder's name, else the host's; every run adds something of its own to it",
    )
    concurrency: int = Field(default=2, ge=1, le=32, description="builds at once")
    profiles: str = Field(
        default=lutlab_profiles.DEFAULT_PROFILE,
        description="device profiles whose base design this builder provides, separated by commas, or `all`",
    )
    tools_dir: Path | None = Field(
        default=None,
        description="compiled tools, else a folder in LUTLAB_CACHE_DIR; several builders of one host may share it",
    )
    cache_mib_max: int = Field(default=2048, ge=16, description="what finished builds may take on disk")
    files_mib_max: int = Field(
        default=512,
        ge=16,
        description="what files of verification projects may take on disk, to be at hand for the next job",
    )
    simulators_mib_max: int = Field(
        default=2048, ge=16, description="what compiled simulators of verification projects may take on disk"
    )
    allow_unsandboxed: bool = Field(
        default=False, description="build user code with the builder's own rights on a host where no sandbox works"
    )
    seed: int = Field(default=1, ge=1, description="nextpnr's seed; fixed, so that builds repeat")
    elaborate_wall_s: float = Field(
        default=120,
        gt=0,
        description="seconds the stage may take; all four together less than the scheduler's LUTLAB_BUILD_DEADLINE_S, "
        "or it gives up on a build whose builder still has time",
    )
    elaborate_memory_mib: int = Field(default=1536, ge=256, description="memory the stage may use")
    synthesize_wall_s: float = Field(default=1200, gt=0, description="seconds the stage may take")
    synthesize_memory_mib: int = Field(default=3072, ge=512, description="memory the stage may use")
    place_and_route_wall_s: float = Field(default=1800, gt=0, description="seconds the stage may take")
    place_and_route_memory_mib: int = Field(default=3072, ge=512, description="memory the stage may use, and packing")
    pack_wall_s: float = Field(default=180, gt=0, description="seconds the stage may take")

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
