"""What a configuration asks for and nobody here can do: said when the job is submitted, not after it has waited."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

from lutlab_verify.config.model import Config, Language
from lutlab_verify.stage import Stage, Unsupported

VHDL = frozenset({Language.VHDL93, Language.VHDL2008})
VHDL_STAGES = frozenset({Stage.LINT})
ENGINES = frozenset({"smtbmc"})
GHDL = "ghdl"


def refuse_unsupported(config: Config, stages: Collection[Stage], tools: Collection[str] | None = None) -> None:
    """See that the stages a job asks for can do what the configuration asks of them.

    Sections of stages that are not asked for may say anything: nobody has asked for them yet.

    Args:
        stages: the job's.
        tools: names of the tools that are installed where the job will run; None if that is not known here.

    Raises:
        Unsupported: with the field and the way out.
    """
    for problem in unsupported(config, stages, tools):
        raise problem


def unsupported(
    config: Config, stages: Collection[Stage], tools: Collection[str] | None = None
) -> Iterator[Unsupported]:
    """Everything that cannot be done, as `refuse_unsupported` would say it."""
    if config.project.language_version in VHDL:
        yield from _vhdl(config, stages, tools)
    if Stage.SIMULATION in stages:
        yield from _simulation(config, tools)
    if Stage.FORMAL in stages:
        yield from _formal(config)
    if Stage.SYNTHESIS in stages:
        yield from _synthesis(config)


def _vhdl(config: Config, stages: Collection[Stage], tools: Collection[str] | None) -> Iterator[Unsupported]:
    language, field = config.project.language_version.value, "project.language_version"
    beyond = sorted(stage.value for stage in stages if stage not in VHDL_STAGES)
    if beyond:
        yield Unsupported(
            f"stage {beyond[0]!r} reads only Verilog and SystemVerilog, and the project's language is {language!r}; "
            "ask for 'lint' only",
            field=field,
        )
    elif tools is not None and GHDL not in tools:
        yield Unsupported(
            f"{language!r} needs GHDL, which is not installed here (Debian: apt install ghdl)", field=field
        )


def _simulation(config: Config, tools: Collection[str] | None) -> Iterator[Unsupported]:
    simulation = config.verification.simulation
    if simulation.tool == GHDL:
        yield Unsupported(
            "'ghdl' simulates VHDL, and simulation here reads only Verilog and SystemVerilog; ask for 'icarus' or "
            "'verilator'",
            field="verification.simulation.tool",
        )
    elif tools is not None and simulation.tool not in tools and not simulation.allow_other_tool:
        yield Unsupported(
            f"{simulation.tool!r} is not installed here, and 'allow_other_tool' is false",
            field="verification.simulation.tool",
        )


def _formal(config: Config) -> Iterator[Unsupported]:
    for at, engine in enumerate(config.verification.formal.engines):
        if not ENGINES & set(engine.split()[:1]):
            known = ", ".join(sorted(ENGINES))
            yield Unsupported(
                f"engine {engine!r} is not available here; available: {known}",
                field=f"verification.formal.engines.{at}",
            )
    for at, pattern in enumerate(config.verification.formal.properties):
        if PurePosixPath(pattern).suffix.lower() == ".psl":
            yield Unsupported(
                f"{pattern!r}: PSL is not read here; write the properties in SystemVerilog",
                field=f"verification.formal.properties.{at}",
            )


def _synthesis(config: Config) -> Iterator[Unsupported]:
    analysis = config.analysis
    if analysis is None or analysis.power is None:
        return
    yield Unsupported(
        "no tool here estimates power; leave 'analysis.power' out, or 'synthesis' out of the job's stages",
        field="analysis.power",
    )
