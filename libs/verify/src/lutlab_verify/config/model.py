"""The configuration, as spec/verification-api.md has it, with defaults for everything that is not required.

Pydantic models, because one declaration gives the types, the checks, the published JSON Schema and the reference in
docs/verification.md: the sentence below a field is what a reader of any of them sees.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WrapValidator

LIST_MAX = 1_000
"""How many entries a list of the configuration has."""

Texts = Annotated[tuple[str, ...], Field(max_length=LIST_MAX)]
Defines = Annotated[dict[str, str], Field(max_length=LIST_MAX)]


class Section(BaseModel):
    """Base of every section: immutable, and unknown fields are errors.

    `SPELLINGS`: other names under which published examples write a field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    SPELLINGS: ClassVar[dict[str, str]] = {}


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
    """Letters, digits and hyphens, at most 64; unique among projects."""
    top_module: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_$]{0,127}$")
    """The name of the design's top module."""
    target_pdk: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    """What it is made for: `sky130`, `gf22fdx`, another process, or a board: `ecp5` or one of our
    device profiles, e.g. `lfe5u-25f`."""
    description: str = Field(default="", max_length=2_000)
    """A sentence for people."""
    version: str = Field(default="0.1.0", pattern=r"^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$")
    """A semantic version: three numbers with dots, e.g. `1.4.0` or `2.0.0-rc.1`."""
    include_dirs: Texts = ()
    """Folders that `include` looks in; the same as `design.includes`."""
    defines: Defines = Field(default_factory=dict)
    """Macros and their values; nothing or `true` for one that is only defined."""
    language_version: Language = Language.SV2017
    """The language that sources are read as. VHDL is linted only, and where GHDL is installed."""


class DesignSection(Section):
    """Which files the design is made of; patterns with `*` (in a folder) and `**` (in folders below)."""

    sources: Texts = Field(min_length=1)
    """Patterns of source files, compiled in this order; what one pattern matches is sorted."""
    includes: Texts = ()
    """Folders that `include` looks in, or patterns of headers, whose folders are meant."""
    constraints: Texts = ()
    """Patterns of constraint files: `.sdc` (clocks) and, for our boards, `.lpf`."""
    exclude: Texts = ()
    """Patterns of files that are no sources although a pattern of `sources` matches them."""


class Waiver(Section):
    """A finding that is known and accepted: which rule, in which files and lines, and why."""

    rule: str
    """The rule's name as findings show it, or a pattern."""
    file: str = "**"
    """A pattern of files."""
    line: int | None = Field(default=None, ge=1)
    """Only in this line."""
    message: str | None = None
    """Only where the message contains this."""
    reason: str = Field(min_length=1)
    """Why it is accepted."""


class LintSection(Section):
    """The lint stage."""

    waivers: tuple[Waiver, ...] = Field(default=(), max_length=LIST_MAX)
    """Findings that are accepted; they stay in the list, marked."""
    warnings_as_errors: bool = False
    """Whether a warning fails the stage."""


class CoverageSection(Section):
    """Which coverage is collected. `coverage: true` alone means the defaults, `false` none."""

    line: bool = True
    """Lines that ran."""
    toggle: bool = True
    """Signals that went from 0 to 1 and from 1 to 0, bit by bit."""
    branch: bool = False
    """Both ways of every decision."""
    fsm: bool = False
    """States and transitions of state machines."""

    @classmethod
    def of(cls, wanted: bool) -> CoverageSection:
        """What the short form means: the defaults, or nothing at all."""
        return cls() if wanted else cls(line=False, toggle=False, branch=False, fsm=False)


def _coverage(value: Any, _: Any) -> CoverageSection:
    """Coverage in either form as the long one."""
    if isinstance(value, bool):
        return CoverageSection.of(value)
    return CoverageSection.model_validate(value)


class SimulationSection(Section):
    """The simulation stage."""

    tool: Literal["verilator", "icarus", "ghdl"] = "verilator"
    """The simulator. `ghdl` is read, and refused where a job simulates: VHDL is linted only."""
    testbenches: Texts = ()
    """Patterns of test benches: cocotb `.py`, Verilog and SystemVerilog."""
    coverage: Annotated[CoverageSection | bool, WrapValidator(_coverage)] = CoverageSection()
    """Which coverage is collected; `true` or `false`, or a section. Reading always gives the section."""
    plusargs: Defines = Field(default_factory=dict)
    """Arguments for the simulation: `depth: 16` is `+depth=16`, one without a value is `+name`."""
    timeout_seconds: int = Field(default=300, ge=1, le=3600)
    """Seconds that one test bench may take."""
    seed: int | None = Field(default=None, ge=0, le=2**31 - 1)
    """The seed of random stimuli; a new one each run if there is none. Results name it."""
    waves: bool = True
    """Whether waveforms are kept. Without them a run is quicker; `fsm` coverage records them all the same."""
    allow_other_tool: bool = True
    """Whether another simulator may stand in where the one asked for is not installed."""


class FormalSection(Section):
    """The formal stage."""

    tool: Literal["symbiyosys"] = "symbiyosys"
    """The driver of proofs."""
    properties: Texts = ()
    """Patterns of files with properties, beside those in the sources."""
    engines: Texts = ("smtbmc",)
    """Proof engines, as SymbiYosys names them, with their solver if wanted: `smtbmc yices`."""
    depth: int = Field(default=20, ge=1, le=10_000)
    """How many clock cycles are looked into."""
    timeout_seconds: int = Field(default=300, ge=1, le=3600)
    """Seconds that one proof may take."""


class ConstantTimeSection(Section):
    """Whether timing may depend on secrets."""

    enabled: bool = False
    """Whether it is checked."""
    secrets: Texts = ()
    """Inputs of the top module that timing must not depend on."""
    public: Texts = ()
    """Inputs that both runs of the comparison share, and outputs whose timing is watched."""
    depth: int = Field(default=40, ge=1, le=10_000)
    """How many clock cycles are compared."""


class SideChannelSection(Section):
    """Power side channels (TVLA)."""

    enabled: bool = False
    """Whether it is checked."""
    power_model: Literal["hamming_weight", "hamming_distance", "toggle_count"] = "hamming_weight"
    """How power is modelled from values."""
    tvla_threshold: float = Field(default=4.5, gt=0)
    """Welch's |t| from which on a sample leaks."""
    num_traces: int = Field(default=10_000, ge=1, le=100_000_000)
    """Traces in all, half of them with a fixed input."""


class EntropySection(Section):
    """Paths from entropy sources to sinks."""

    sources: Texts = ()
    """Signals where entropy enters."""
    sinks: Texts = ()
    """Signals that must receive it."""


FipsCheck = Literal[
    "kat",
    "integrity",
    "zeroize",
    "key_zeroization",
    "self_test_coverage",
    "error_handling",
    "rng_health",
    "rng_health_tests",
    "pairwise",
]


def _fips_level(value: Any) -> Any:
    """A level in any of its spellings: 2, "2", "140-3 Level 2"."""
    if isinstance(value, str):
        written = re.fullmatch(r"(?:(?:fips\s*)?140-[23]\s+)?(?:level\s+)?([1-4])", value.strip(), re.IGNORECASE)
        if written is None:
            raise ValueError("a level is 1, 2, 3 or 4, or written as '140-3 Level 2'")
        return int(written[1])
    return value


class FipsSection(Section):
    """Machine-checkable parts of FIPS 140-3."""

    enabled: bool = False
    """Whether it is checked."""
    level: Annotated[int | str, BeforeValidator(_fips_level)] = 1
    """The security level, 1 to 4; `"140-3 Level 2"` is 2."""
    checks: tuple[FipsCheck, ...] = ("kat", "integrity", "zeroize")
    """What is checked."""


class NttSection(Section):
    """Number-theoretic transforms against FIPS 203 and 204."""

    SPELLINGS: ClassVar[dict[str, str]] = {"exhaustive_test": "exhaustive"}

    enabled: bool = False
    """Whether it is checked."""
    standard: Literal["kyber", "dilithium", "custom"] = "kyber"
    """Whose parameters."""
    exhaustive: bool = False
    """Whether every input is tried where they are few enough; also written `exhaustive_test`."""


class CryptoSection(Section):
    """The crypto stage."""

    constant_time: ConstantTimeSection = ConstantTimeSection()
    """Constant time."""
    side_channel: SideChannelSection = SideChannelSection()
    """Power side channels."""
    entropy_analysis: EntropySection = EntropySection()
    """Entropy."""
    fips_compliance: FipsSection = FipsSection()
    """FIPS 140-3."""
    ntt_validation: NttSection = NttSection()
    """Number-theoretic transforms."""


class SynthesisSection(Section):
    """The synthesis stage; the clock's period is in `analysis.timing`."""

    seed: int = Field(default=1, ge=1, le=2**31 - 1)
    """The placer's seed."""
    timeout_seconds: int = Field(default=600, ge=1, le=3600)
    """Seconds that synthesis, and then place and route, may take each."""


class VerificationSection(Section):
    """What is checked, and how."""

    lint: LintSection = LintSection()
    """Lint."""
    simulation: SimulationSection = SimulationSection()
    """Simulation."""
    formal: FormalSection = FormalSection()
    """Formal."""
    crypto_verification: CryptoSection = CryptoSection()
    """Crypto."""
    synthesis: SynthesisSection = SynthesisSection()
    """Synthesis."""


PERIOD_NS_MIN, PERIOD_NS_MAX = 0.1, 1e9
UNITS_NS = {"ps": 1e-3, "ns": 1.0, "us": 1e3, "ms": 1e6, "": 1.0}


def _period_ns(value: Any) -> Any:
    """A period in nanoseconds from a number or a text with a unit."""
    if isinstance(value, str):
        written = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(ps|ns|us|ms|)", value.strip())
        if written is None:
            raise ValueError("a period is a number of nanoseconds, or has a unit: '10.0ns', '250 ps'")
        value = float(written[1]) * UNITS_NS[written[2]]
    if isinstance(value, int | float) and not PERIOD_NS_MIN <= value <= PERIOD_NS_MAX:
        raise ValueError(f"a period is between {PERIOD_NS_MIN} and {PERIOD_NS_MAX:g} ns")
    return value


class TimingSection(Section):
    """Timing that the synthesis stage aims at and is graded by."""

    tool: Literal["opensta"] = "opensta"
    """Accepted for files of the reference; on our boards nextpnr does the analysis."""
    clock_period: Annotated[float | str, BeforeValidator(_period_ns)] = 10.0
    """The clock's period in ns; `"10.0ns"` and other units are understood."""
    sdc_files: Texts = ()
    """Patterns of SDC files; only their clocks are used."""

    @property
    def period_ns(self) -> float:
        """The clock's period as a number of ns."""
        return float(self.clock_period)


class PowerSection(Section):
    """Power estimation. No tool here does it: the synthesis stage refuses a project that asks for it."""

    tool: Literal["openroad"] = "openroad"
    """The estimator."""
    activity_file: str | None = None
    """Switching activity."""
    corner: str = "typical"
    """The process corner."""


class AnalysisSection(Section):
    """Analyses of an implementation; part of the synthesis stage."""

    timing: TimingSection | None = None
    """Timing."""
    power: PowerSection | None = None
    """Power."""


class CiSection(Section):
    """When a repository's pipeline runs. For your pipeline to read; jobs do not look at it."""

    github_actions: bool = True
    """Whether there is a GitHub workflow."""
    on_push: bool = True
    """Run for pushes."""
    on_pr: bool = True
    """Run for pull requests."""
    nightly: bool = False
    """Run every night."""
    extra_steps: Texts = ()
    """Further commands."""


class Config(Section):
    """A whole `lutlab.yaml`."""

    project: ProjectSection
    """Who the design is."""
    design: DesignSection
    """Which files it is made of."""
    verification: VerificationSection = VerificationSection()
    """What is checked, and how."""
    analysis: AnalysisSection | None = None
    """Timing and power of an implementation."""
    ci_integration: CiSection | None = None
    """When a repository's pipeline runs."""
