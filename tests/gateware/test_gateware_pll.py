"""PLL dividers: the ranges of the data sheet, exactness, and frequencies that cannot be reached."""

from __future__ import annotations

from fractions import Fraction

import pytest

from lutlab_gateware.pll import Pll, UnreachableFrequency, find_dividers, format_mhz

MHZ = 1_000_000


@pytest.mark.parametrize("input_mhz", [12, 25, 48, 50, 100])
@pytest.mark.parametrize("output_mhz", [10, 12, 25, 33, 48, 50, 62, 75, 80, 96, 100, 125, 133, 150, 200])
def test_whole_megahertz_are_reached_within_the_devices_ranges(input_mhz, output_mhz):
    found = find_dividers(input_mhz * MHZ, output_mhz * MHZ)
    assert abs(found.output_hz - output_mhz * MHZ) * 1000 <= output_mhz * MHZ
    assert found.pfd_hz >= 3_125_000
    assert 400 * MHZ <= found.vco_hz <= 800 * MHZ
    assert 1 <= found.clki_div <= 128 and 1 <= found.clkfb_div <= 80
    assert 1 <= found.clkop_div <= 128 and 1 <= found.output_div <= 128
    # CLKOP closes the loop, so its frequency equals the feedback divider times the phase detector's.
    assert found.vco_hz / found.clkop_div == found.pfd_hz * found.clkfb_div
    assert 3_125_000 <= found.vco_hz / found.clkop_div <= 400 * MHZ


@pytest.mark.parametrize(
    ("output_hz", "expected"),
    [
        (100 * MHZ, (1, 2, 4, 4)),
        (75 * MHZ, (2, 3, 6, 6)),
        (25 * MHZ, (2, 1, 16, 16)),
        (48 * MHZ, (5, 24, 2, 10)),
    ],
)
def test_from_50_mhz(output_hz, expected):
    found = find_dividers(50 * MHZ, output_hz)
    assert (found.clki_div, found.clkfb_div, found.clkop_div, found.output_div) == expected
    assert found.output_hz == output_hz
    assert found.pfd_hz >= 10 * MHZ


def test_an_inexact_frequency_is_told():
    pll = Pll(50 * MHZ, 33_333_333)
    assert pll.output_hz == Fraction(100 * MHZ, 3)


@pytest.mark.parametrize(
    ("input_hz", "output_hz", "message"),
    [
        (50 * MHZ, 3 * MHZ, "clock 3000000 Hz is outside 3125000..400000000 Hz"),
        (50 * MHZ, 401 * MHZ, "is outside"),
        (7 * MHZ, 50 * MHZ, "PLL input 7000000 Hz is outside 8000000..400000000 Hz"),
        (12 * MHZ, 397 * MHZ, r"cannot be made from 12000000 Hz within 0\.1 %; the nearest is 39[68]000000 Hz"),
    ],
)
def test_unreachable(input_hz, output_hz, message):
    with pytest.raises(UnreachableFrequency, match=message) as caught:
        find_dividers(input_hz, output_hz)
    assert caught.value.code == "unreachable_frequency"


def test_format_mhz():
    assert format_mhz(50 * MHZ) == "50"
    assert format_mhz(Fraction(100 * MHZ, 3)) == "33.333333"
    assert format_mhz(100) == "0.0001"
