"""The structured report of a build, and how the tools' own reports become it.

Field names are those of the BuildReport of the board API contract (section 4), plus what names and times the build.
"""

from __future__ import annotations

from typing import Any

import msgspec

from lutlab_builder.domain.errors import BuildFailure, Code

LOG_TAIL_LINES = 40
_UTIL_CELLS = {"logic": "TRELLIS_COMB", "ff": "TRELLIS_FF", "bram": "DP16KD", "dsp": "MULT18X18D"}


class Usage(msgspec.Struct, frozen=True):
    """How much of a resource a design uses."""

    used: int
    available: int


class StageTime(msgspec.Struct, frozen=True):
    """How long a stage ran."""

    name: str
    seconds: float


class BuildReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a build yielded.

    Attributes:
        mode: `build` (a full build; the reference also knows `synth` and `pnr`).
        ok: a bitstream was made.
        scope: `soc`: numbers include the bus bridge around the user's design.
        fits: it fits the device.
        fmax_mhz: highest clock nextpnr found for the user domain; None where the design has no timed path.
        sys_clk_mhz: the user domain's clock as built.
        target_mhz: what timing was graded against.
        timing_met: `fmax_mhz` reaches `target_mhz`; None where there is no `fmax_mhz`.
        clock: nextpnr's name of the net.
        util: `logic`, `ff`, `bram`, `dsp`: used and available.
        synth_cells: cell type -> count after synthesis.
        warnings: the tools' distinct warnings.
        design_hash: SHA-256 of the sources.
        toolchain: names and versions.
        log_tail: the last lines of the log.
        stages: how long each took.
        build_key, build_id: the build's name, and what the design answers in its hello.
        baud: the serial line's speed, the clock as built divided by `divider`.
        bitstream_digest, bitstream_bytes: SHA-256 and size of the `.bit` file.
    """

    mode: str = "build"
    ok: bool = True
    scope: str = "soc"
    fits: bool = True
    fmax_mhz: float | None
    sys_clk_mhz: float
    target_mhz: float
    timing_met: bool | None
    clock: str | None
    util: dict[str, Usage]
    synth_cells: dict[str, int]
    warnings: list[str]
    design_hash: str
    toolchain: str
    log_tail: str
    stages: list[StageTime]
    profile: str
    build_key: str
    build_id: int
    clk_hz: int
    divider: int
    baud: int
    address_words: int
    target: str
    bitstream_digest: str
    bitstream_bytes: int


class _Fmax(msgspec.Struct):
    achieved: float
    constraint: float


class _PnrJson(msgspec.Struct):
    fmax: dict[str, _Fmax]
    utilization: dict[str, Usage]


class PnrReport(msgspec.Struct, frozen=True):
    """What nextpnr measured: clock net -> highest frequency in MHz, cell type -> usage."""

    fmax_mhz: dict[str, float]
    utilization: dict[str, Usage]

    def util(self) -> dict[str, Usage]:
        """Usage under the contract's names; a device without a resource has 0 of it."""
        return {name: self.utilization.get(cell, Usage(0, 0)) for name, cell in _UTIL_CELLS.items()}


def parse_pnr(data: bytes) -> PnrReport:
    """nextpnr's `--report` JSON. Raises: BuildFailure `bad_tool_output`."""
    try:
        raw = msgspec.json.decode(data, type=_PnrJson)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BuildFailure(Code.BAD_TOOL_OUTPUT, f"nextpnr's report is not understood: {error}") from error
    return PnrReport({net: clock.achieved for net, clock in raw.fmax.items()}, raw.utilization)


def parse_stat(data: bytes) -> dict[str, int]:
    """Cell counts of `stat -json`, over the whole design. Raises: BuildFailure `bad_tool_output`."""
    try:
        raw: dict[str, Any] = msgspec.json.decode(data)
        cells = raw["design"]["num_cells_by_type"]
        # Names that begin with `$` are yosys' own notes (scopes), not hardware.
        return {str(name): int(count) for name, count in sorted(cells.items()) if not name.startswith("$")}
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BuildFailure(Code.BAD_TOOL_OUTPUT, f"yosys' statistics are not understood: {error!r}") from error
