"""What a build is asked for, and the limits of its options."""

from __future__ import annotations

from dataclasses import dataclass

from lutlab_builder.domain.errors import BuildFailure, Code
from lutlab_events.designs import SYS_CLK_HZ_MAX, SYS_CLK_HZ_MIN, TIMING_TARGET_MHZ_MAX, TOP


@dataclass(frozen=True)
class Options:
    """How to build.

    Attributes:
        profile: the device profile's name.
        sys_clk_hz: the user domain's clock, 10 to 200 MHz; None for the profile's oscillator.
        top: class or module to build; None to find the only one with the contract's ports.
        timing_target_mhz: what timing is graded against; None for the clock itself.
    """

    profile: str
    sys_clk_hz: int | None = None
    top: str | None = None
    timing_target_mhz: float | None = None

    def __post_init__(self) -> None:
        clk_hz, target_mhz = self.sys_clk_hz, self.timing_target_mhz
        if clk_hz is not None and not SYS_CLK_HZ_MIN <= clk_hz <= SYS_CLK_HZ_MAX:
            raise BuildFailure(
                Code.INVALID_SYS_CLK_FREQ,
                f"sys_clk_freq {clk_hz} Hz must lie between {SYS_CLK_HZ_MIN} and {SYS_CLK_HZ_MAX} Hz",
            )
        if target_mhz is not None and not 0 < target_mhz <= TIMING_TARGET_MHZ_MAX:
            raise BuildFailure(
                Code.INVALID_TIMING_TARGET,
                f"timing_target_mhz {target_mhz} must be above 0 and at most {TIMING_TARGET_MHZ_MAX:g}",
            )
        if self.top is not None and TOP.fullmatch(self.top) is None:
            raise BuildFailure(Code.INVALID_TOP, f"top {self.top[:140]!r} is not a class or module name")


@dataclass(frozen=True)
class BuildRequest:
    """An upload and how to build it.

    Attributes:
        filename: the upload's name; its suffix selects the form. Empty for the base design.
        source: the upload's bytes.
        options: how to build it.
    """

    filename: str
    source: bytes
    options: Options
