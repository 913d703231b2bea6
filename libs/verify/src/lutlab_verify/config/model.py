"""The configuration, as spec/verification-api.md has it, with defaults for everything that is not required.

Pydantic models, because one declaration gives the types, the checks and the published JSON Schema.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """Base of every section: immutable, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Language(StrEnum):
    """Which version of which language sources are read as."""

    V2005 = "v2005"
    SV2012 = "sv2012"
    SV2017 = "sv2017"
    VHDL93 = "vhdl93"
    VHDL2008 = "vhdl2008"


class ProjectSection(Section):
    """Who the design is."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,63}$")
    top_module: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_$]{0,127}$")
    target_pdk: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    description: str = ""
    version: str = "0.1.0"
    include_dirs: tuple[str, ...] = ()
    defines: dict[str, str] = Field(default_factory=dict)
    language_version: Language = Language.SV2017


class DesignSection(Section):
    """Which files the design is made of; globs with `*` and `**`."""

    sources: tuple[str, ...] = Field(min_length=1)
    includes: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class Waiver(Section):
    """A finding that is known and accepted: which rule, in which files and lines, and why."""

    rule: str
    file: str = "**"
    line: int | None = None
    message: str | None = None
    reason: str = Field(min_length=1)


class LintSection(Section):
    """The lint stage."""

    waivers: tuple[Waiver, ...] = ()
    warnings_as_errors: bool = False


class CoverageSection(Section):
    """Which coverage is collected. `coverage: true` alone means the defaults."""

    line: bool = True
    toggle: bool = True
    branch: bool = False
    fsm: bool = False


class SimulationSection(Section):
    """The simulation stage."""

    tool: Literal["verilator", "icarus", "ghdl"] = "verilator"
    testbenches: tuple[str, ...] = ()
    coverage: CoverageSection | bool = CoverageSection()
    plusargs: dict[str, str] = Field(default_factory=dict)
    timeout_seconds: int = Field(default=300, ge=1, le=3600)
    seed: int | None = None
    allow_other_tool: bool = True


class FormalSection(Section):
    """The formal stage."""

    tool: Literal["symbiyosys"] = "symbiyosys"
    properties: tuple[str, ...] = ()
    engines: tuple[str, ...] = ("smtbmc",)
    depth: int = Field(default=20, ge=1, le=10_000)
    timeout_seconds: int = Field(default=300, ge=1, le=3600)


class ConstantTimeSection(Section):
    """Whether timing may depend on secrets."""

    enabled: bool = False
    secrets: tuple[str, ...] = ()
    public: tuple[str, ...] = ()
    depth: int = Field(default=40, ge=1, le=10_000)


class SideChannelSection(Section):
    """Power side channels (TVLA)."""

    enabled: bool = False
    power_model: Literal["hamming_weight", "hamming_distance", "toggle_count"] = "hamming_weight"
    tvla_threshold: float = 4.5
    num_traces: int = Field(default=10_000, ge=1, le=100_000_000)


class EntropySection(Section):
    """Paths from entropy sources to sinks."""

    sources: tuple[str, ...] = ()
    sinks: tuple[str, ...] = ()


class FipsSection(Section):
    """Machine-checkable parts of FIPS 140-3."""

    enabled: bool = False
    level: int | str = 1
    checks: tuple[str, ...] = ("kat", "integrity", "zeroize")


class NttSection(Section):
    """Number-theoretic transforms against FIPS 203 and 204."""

    enabled: bool = False
    standard: Literal["kyber", "dilithium", "custom"] = "kyber"
    exhaustive: bool = False


class CryptoSection(Section):
    """The crypto stage."""

    constant_time: ConstantTimeSection = ConstantTimeSection()
    side_channel: SideChannelSection = SideChannelSection()
    entropy_analysis: EntropySection = EntropySection()
    fips_compliance: FipsSection = FipsSection()
    ntt_validation: NttSection = NttSection()


class VerificationSection(Section):
    """What is checked, and how."""

    lint: LintSection = LintSection()
    simulation: SimulationSection = SimulationSection()
    formal: FormalSection = FormalSection()
    crypto_verification: CryptoSection = CryptoSection()


class TimingSection(Section):
    """Static timing."""

    tool: Literal["opensta"] = "opensta"
    clock_period: float | str = 10.0
    sdc_files: tuple[str, ...] = ()


class PowerSection(Section):
    """Power estimation."""

    tool: Literal["openroad"] = "openroad"
    activity_file: str | None = None
    corner: str = "typical"


class AnalysisSection(Section):
    """Analyses of an implementation."""

    timing: TimingSection | None = None
    power: PowerSection | None = None


class CiSection(Section):
    """When a repository's pipeline runs."""

    github_actions: bool = True
    on_push: bool = True
    on_pr: bool = True
    nightly: bool = False
    extra_steps: tuple[str, ...] = ()


class Config(Section):
    """A whole `lutlab.yaml`."""

    project: ProjectSection
    design: DesignSection
    verification: VerificationSection = VerificationSection()
    analysis: AnalysisSection | None = None
    ci_integration: CiSection | None = None
