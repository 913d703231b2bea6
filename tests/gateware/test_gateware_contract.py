"""Which class of a user's file is the design, and what the user is told if none is."""

from __future__ import annotations

import textwrap
import types

import pytest
from bus_sim import load_example

from lutlab_gateware.contract import (
    AmbiguousTarget,
    ContractError,
    NoTarget,
    UnknownTop,
    WrongPorts,
    find_amaranth_target,
)

PRELUDE = """
from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

class Base:
    def __init__(self, **widths):
        for name, width in (dict(wb_cyc=1, wb_stb=1, wb_we=1, wb_adr=9, wb_dat_w=32, wb_sel=4, wb_dat_r=32, wb_ack=1)
                            | widths).items():
            if width:
                setattr(self, name, Signal(width))
    def elaborate(self, platform):
        return Module()
"""
GOOD = "class Good(Base, Elaboratable): pass\n"


def module(source):
    result = types.ModuleType("user_design")
    exec(compile(PRELUDE + textwrap.dedent(source), "user_design.py", "exec", dont_inherit=True), vars(result))
    return result


def test_the_examples_fit():
    assert type(find_amaranth_target(load_example("echo_memory"))).__name__ == "EchoMemory"
    assert type(find_amaranth_target(load_example("mac"))).__name__ == "MultiplyAccumulate"


def test_helpers_and_classes_with_arguments_are_passed_over():
    source = (
        GOOD
        + """
    class Helper(Elaboratable):
        def elaborate(self, platform): return Module()
    class Parametric(Base, Elaboratable):
        def __init__(self, depth): super().__init__()
    class NotElaboratable(Base): pass
    Alias = Good
    """
    )
    source = GOOD + textwrap.dedent(source.removeprefix(GOOD))
    assert type(find_amaranth_target(module(source))).__name__ == "Good"


def test_imported_classes_do_not_count():
    user = module(GOOD)
    user.Imported = load_example("echo_memory").EchoMemory
    assert type(find_amaranth_target(user)).__name__ == "Good"


def test_a_component_with_a_signature_fits():
    source = """
    class Design(wiring.Component):
        wb_cyc: In(1)
        wb_stb: In(1)
        wb_we: In(1)
        wb_adr: In(6)
        wb_dat_w: In(32)
        wb_sel: In(4)
        wb_dat_r: Out(32)
        wb_ack: Out(1)
        def elaborate(self, platform): return Module()
    """
    assert len(find_amaranth_target(module(source)).wb_adr) == 6


@pytest.mark.parametrize(
    ("source", "top", "error", "message"),
    [
        ("", None, NoTarget, "defines no Elaboratable class"),
        ("class Helper(Elaboratable): pass", None, NoTarget, "Helper: it has no Signal wb_cyc, wb_stb"),
        (
            "class A(Base, Elaboratable):\n def __init__(self, n): pass",
            None,
            NoTarget,
            r"A: it cannot be made without arguments \(TypeError: .*'n'",
        ),
        (
            "class A(Base, Elaboratable):\n def __init__(self): raise RuntimeError('no file')",
            None,
            NoTarget,
            "RuntimeError: no file",
        ),
        (
            "class A(Base, Elaboratable):\n def __init__(self): super().__init__(wb_dat_r=16)",
            None,
            WrongPorts,
            "A: its wb_dat_r is 16 bits wide instead of 32",
        ),
        (
            "class A(Base, Elaboratable):\n def __init__(self): super().__init__(wb_adr=25)",
            None,
            WrongPorts,
            "its wb_adr is 25 bits wide instead of 1 to 24",
        ),
        (
            "class A(Base, Elaboratable):\n def __init__(self): super().__init__(wb_sel=None)",
            None,
            WrongPorts,
            "A: it has no Signal wb_sel",
        ),
        (
            "class A(Base, Elaboratable):\n def __init__(self): super().__init__(wb_err=2)",
            None,
            WrongPorts,
            "its wb_err is 2 bits wide instead of 1",
        ),
        (
            GOOD + "class Better(Base, Elaboratable): pass",
            None,
            AmbiguousTarget,
            r"2 classes fit the Wishbone contract \(Good, Better\); name one as `top`",
        ),
        (GOOD, "Gone", UnknownTop, "top 'Gone' is not an Elaboratable class of this file; it defines: Good"),
        (GOOD, "Base", UnknownTop, "it defines: Good"),
        (
            GOOD + "class Helper(Elaboratable): pass",
            "Helper",
            WrongPorts,
            "top 'Helper' does not fit the Wishbone contract: it has no Signal",
        ),
    ],
)
def test_clear_errors(source, top, error, message):
    with pytest.raises(error, match=message) as caught:
        find_amaranth_target(module(source), top)
    assert isinstance(caught.value, ContractError) and caught.value.code


def test_top_picks_one_of_several():
    user = module(GOOD + "class Better(Base, Elaboratable): pass")
    assert type(find_amaranth_target(user, "Better")).__name__ == "Better"
