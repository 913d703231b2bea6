"""What the trusted side decides about the SoC, through `lutlab_gateware`."""

from __future__ import annotations

import dataclasses

from lutlab_builder.domain.errors import BuildFailure, Code
from lutlab_profiles import DeviceProfile


class LutlabGateware:
    """Clock and constraints as `lutlab_gateware` makes them. Amaranth is loaded on first use, not at start-up."""

    def clk_hz(self, profile: DeviceProfile, wanted_hz: int | None) -> int:
        """See `lutlab_builder.app.ports.Gateware.clk_hz`."""
        from lutlab_gateware.pll import UnreachableFrequency, find_dividers  # noqa: PLC0415

        if wanted_hz is None or wanted_hz == profile.clk_hz:
            return profile.clk_hz
        try:
            return round(find_dividers(profile.clk_hz, wanted_hz).output_hz)
        except UnreachableFrequency as error:
            raise BuildFailure(Code.INVALID_SYS_CLK_FREQ, str(error)) from None

    def panel(self, profile: DeviceProfile) -> dict[str, int | bool]:
        """See `lutlab_builder.app.ports.Gateware.panel`."""
        from lutlab_gateware.emit import panel_of  # noqa: PLC0415

        return dataclasses.asdict(panel_of(profile))

    def constraints(self, profile: DeviceProfile, clk_hz: int, timing_hz: int) -> str:
        """See `lutlab_builder.app.ports.Gateware.constraints`."""
        from lutlab_gateware.emit import lpf  # noqa: PLC0415

        return lpf(profile, clk_hz, timing_hz=timing_hz)
