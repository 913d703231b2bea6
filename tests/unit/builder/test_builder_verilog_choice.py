"""Which Verilog module is the design."""

from __future__ import annotations

import pytest

from lutlab_builder.inside.loaded import DesignFailure
from lutlab_builder.inside.verilog_design import choose, objections

Ports = dict[str, tuple[str, int]]

GOOD: Ports = {
    "clk": ("in", 1),
    "rst": ("in", 1),
    "wb_cyc": ("in", 1),
    "wb_stb": ("in", 1),
    "wb_we": ("in", 1),
    "wb_adr": ("in", 9),
    "wb_dat_w": ("in", 32),
    "wb_sel": ("in", 4),
    "wb_dat_r": ("out", 32),
    "wb_ack": ("out", 1),
}
HELPER: Ports = {"a": ("in", 8), "b": ("out", 1)}


def without(name: str) -> Ports:
    return {port: shape for port, shape in GOOD.items() if port != name}


def refused(modules: dict[str, Ports], top: str | None = None) -> DesignFailure:
    with pytest.raises(DesignFailure) as caught:
        choose(modules, top)
    return caught.value


def test_the_only_fitting_module_is_chosen() -> None:
    assert choose({"helper": HELPER, "counter": GOOD}, None) == "counter"


def test_optional_error_and_other_address_widths() -> None:
    assert objections({**GOOD, "wb_err": ("out", 1)}) == []
    assert objections({**GOOD, "wb_adr": ("in", 1)}) == []
    assert objections({**GOOD, "wb_adr": ("in", 24)}) == []


@pytest.mark.parametrize(
    ("ports", "words"),
    [
        ({**GOOD, "wb_adr": ("in", 25)}, "wb_adr has 25 bits"),
        ({**GOOD, "wb_dat_w": ("in", 16)}, "wb_dat_w has 16 bits, must have 32"),
        ({**GOOD, "wb_ack": ("in", 1)}, "wb_ack must be output"),
        ({**GOOD, "rst": ("out", 1)}, "rst must be input"),
        ({**GOOD, "clk": ("inout", 1)}, "clk must be input"),
        ({**GOOD, "led": ("out", 1)}, "led is not part of the contract"),
        ({**GOOD, "wb_err": ("out", 2)}, "wb_err must be an output of 1 bit"),
        (without("rst"), "rst is missing"),
    ],
)
def test_what_is_wrong_is_named(ports: Ports, words: str) -> None:
    for failure in (refused({"m": ports}), refused({"m": ports, "other": GOOD}, top="m")):
        assert failure.code == "wrong_ports"
        assert words in failure.message
        assert "'m'" in failure.message


def test_none_and_several() -> None:
    assert refused({"helper": HELPER}).code == "no_target"
    assert refused({}).code == "no_target"
    several = refused({"one": GOOD, "two": GOOD})
    assert several.code == "ambiguous_target"
    assert "one, two" in several.message
    assert choose({"one": GOOD, "two": GOOD}, "two") == "two"


def test_an_unknown_top_lists_the_modules() -> None:
    failure = refused({"one": GOOD, "helper": HELPER}, top="three")
    assert failure.code == "unknown_top"
    assert "helper, one" in failure.message


def test_long_lists_are_cut() -> None:
    failure = refused({f"m{i}": HELPER for i in range(100)})
    assert "and 80 more" in failure.message
