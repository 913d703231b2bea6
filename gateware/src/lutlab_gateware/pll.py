"""ECP5's PLL: find dividers for a wanted frequency and instantiate EHXPLLL.

Limits from the ECP5 and ECP5-5G family data sheet (FPGA-DS-02012), "sysCLOCK PLL timing", and the sysCLOCK usage guide
(FPGA-TN-02200): dividers are integers, CLKI 1..128, CLKFB 1..80, outputs 1..128; VCO 400..800 MHz.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from amaranth.hdl import Const, Elaboratable, Instance, Module, Signal

CLKI_DIV_MAX = 128
CLKFB_DIV_MAX = 80
OUTPUT_DIV_MAX = 128
INPUT_HZ_MIN, INPUT_HZ_MAX = 8_000_000, 400_000_000
OUTPUT_HZ_MIN, OUTPUT_HZ_MAX = 3_125_000, 400_000_000
VCO_HZ_MIN, VCO_HZ_MAX = 400_000_000, 800_000_000
PFD_HZ_MIN = 3_125_000
PFD_HZ_PREFERRED = 10_000_000
"""Below this the phase detector still works, at more jitter; such dividers are only a last resort."""
ERROR_MAX = Fraction(1, 1000)


class UnreachableFrequency(ValueError):
    """No dividers reach the wanted frequency; the message names the nearest one that can be reached."""

    code = "unreachable_frequency"


@dataclass(frozen=True, kw_only=True)
class PllDividers:
    """A PLL configuration. CLKOP is the feedback; the output is CLKOP where it fits and CLKOS otherwise.

    Attributes:
        input_hz: oscillator.
        clki_div, clkfb_div, clkop_div, output_div: the dividers; `output_div` is CLKOP's or CLKOS's.
    """

    input_hz: int
    clki_div: int
    clkfb_div: int
    clkop_div: int
    output_div: int

    @property
    def pfd_hz(self) -> Fraction:
        """Frequency at the phase detector."""
        return Fraction(self.input_hz, self.clki_div)

    @property
    def vco_hz(self) -> Fraction:
        """Frequency of the oscillator inside the PLL."""
        return self.pfd_hz * self.clkfb_div * self.clkop_div

    @property
    def output_hz(self) -> Fraction:
        """Frequency the design gets."""
        return self.vco_hz / self.output_div

    @property
    def uses_clkos(self) -> bool:
        """The output is CLKOS, because CLKOP is busy closing the loop at another frequency."""
        return self.output_div != self.clkop_div


def find_dividers(input_hz: int, output_hz: int) -> PllDividers:
    """The dividers that come closest to `output_hz`.

    Of equally close ones: a phase detector at 10 MHz or more, then CLKOP as the only output, then the fastest phase
    detector, then the slowest VCO.

    Args:
        input_hz: oscillator, 8 to 400 MHz.
        output_hz: wanted, 3.125 to 400 MHz.

    Raises:
        UnreachableFrequency: an argument is out of range, or nothing is within 0.1 %.
    """
    if not INPUT_HZ_MIN <= input_hz <= INPUT_HZ_MAX:
        raise UnreachableFrequency(
            f"PLL input {input_hz} Hz is outside {INPUT_HZ_MIN}..{INPUT_HZ_MAX} Hz; use another oscillator"
        )
    if not OUTPUT_HZ_MIN <= output_hz <= OUTPUT_HZ_MAX:
        raise UnreachableFrequency(
            f"clock {output_hz} Hz is outside {OUTPUT_HZ_MIN}..{OUTPUT_HZ_MAX} Hz, what the PLL can make"
        )
    best = min(_candidates(input_hz, output_hz), key=lambda d: _rank(d, output_hz))
    if abs(best.output_hz - output_hz) > ERROR_MAX * output_hz:
        raise UnreachableFrequency(
            f"clock {output_hz} Hz cannot be made from {input_hz} Hz within 0.1 %; "
            f"the nearest is {float(best.output_hz):.0f} Hz"
        )
    return best


def _candidates(input_hz: int, output_hz: int) -> list[PllDividers]:
    found = []
    for clki_div in range(1, min(CLKI_DIV_MAX, input_hz // PFD_HZ_MIN) + 1):
        for output_div in range(-(-VCO_HZ_MIN // output_hz), min(OUTPUT_DIV_MAX, VCO_HZ_MAX // output_hz) + 1):
            exact = Fraction(output_hz * output_div * clki_div, input_hz)
            for multiplier in {int(exact), int(exact) + 1}:
                vco_hz = Fraction(input_hz * multiplier, clki_div)
                if not VCO_HZ_MIN <= vco_hz <= VCO_HZ_MAX:
                    continue
                loop = _split(multiplier, output_div, vco_hz)
                if loop is not None:
                    found.append(
                        PllDividers(
                            input_hz=input_hz,
                            clki_div=clki_div,
                            clkfb_div=loop[0],
                            clkop_div=loop[1],
                            output_div=output_div,
                        )
                    )
    return found


def _split(multiplier: int, output_div: int, vco_hz: Fraction) -> tuple[int, int] | None:
    """`multiplier` as CLKFB_DIV x CLKOP_DIV, with CLKOP_DIV equal to `output_div` if that can be.

    CLKOP only closes the loop otherwise, and has the limits of an output nevertheless.
    """
    preferred = [output_div, *range(-(-vco_hz // OUTPUT_HZ_MAX), OUTPUT_DIV_MAX + 1)]
    for clkop_div in preferred:
        if multiplier % clkop_div == 0 and 1 <= multiplier // clkop_div <= CLKFB_DIV_MAX:
            return multiplier // clkop_div, clkop_div
    return None


def _rank(dividers: PllDividers, output_hz: int) -> tuple[Fraction, bool, bool, int, Fraction]:
    return (
        abs(dividers.output_hz - output_hz),
        dividers.pfd_hz < PFD_HZ_PREFERRED,
        dividers.uses_clkos,
        dividers.clki_div,
        dividers.vco_hz,
    )


class Pll(Elaboratable):
    """An EHXPLLL that makes `output_hz` from `input_hz`.

    Args:
        input_hz: oscillator.
        output_hz: wanted.

    Attributes:
        clk_in: in. clk_out, locked: out.
        dividers: what was found.
        output_hz: the actual frequency, a Fraction.

    Raises:
        UnreachableFrequency: see `find_dividers`.
    """

    def __init__(self, input_hz: int, output_hz: int) -> None:
        self.dividers = find_dividers(input_hz, output_hz)
        self.output_hz = self.dividers.output_hz
        self.clk_in = Signal()
        self.clk_out = Signal()
        self.locked = Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        dividers = self.dividers
        feedback = Signal() if dividers.uses_clkos else self.clk_out
        parameters: dict[str, Any] = {
            "p_CLKI_DIV": dividers.clki_div,
            "p_CLKFB_DIV": dividers.clkfb_div,
            "p_FEEDBK_PATH": "CLKOP",
            "p_CLKOP_ENABLE": "ENABLED",
            "p_CLKOP_DIV": dividers.clkop_div,
            "p_CLKOP_CPHASE": dividers.clkop_div - 1,
            "p_CLKOP_FPHASE": 0,
            "o_CLKOP": feedback,
            "i_CLKFB": feedback,
        }
        if dividers.uses_clkos:
            parameters |= {
                "p_CLKOS_ENABLE": "ENABLED",
                "p_CLKOS_DIV": dividers.output_div,
                "p_CLKOS_CPHASE": dividers.output_div - 1,
                "p_CLKOS_FPHASE": 0,
                "o_CLKOS": self.clk_out,
            }
        m.submodules.ehxplll = Instance(
            "EHXPLLL",
            i_CLKI=self.clk_in,
            i_RST=Const(0),
            i_STDBY=Const(0),
            i_ENCLKOP=Const(0),
            i_ENCLKOS=Const(0),
            i_PHASESEL0=Const(0),
            i_PHASESEL1=Const(0),
            i_PHASEDIR=Const(0),
            i_PHASESTEP=Const(0),
            i_PHASELOADREG=Const(0),
            i_PLLWAKESYNC=Const(0),
            o_LOCK=self.locked,
            p_PLLRST_ENA="DISABLED",
            p_INTFB_WAKE="DISABLED",
            p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED",
            a_FREQUENCY_PIN_CLKI=f"{format_mhz(dividers.input_hz)}",
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            # Without these the tools leave the amplifier of the loop's filter off (Project Trellis, `ecppll`).
            a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            **parameters,
        )
        return m


def format_mhz(frequency_hz: int | Fraction) -> str:
    """A frequency as the tools' attributes and constraint files want it: MHz, up to six decimals."""
    return f"{float(Fraction(frequency_hz) / 1_000_000):.6f}".rstrip("0").rstrip(".")
