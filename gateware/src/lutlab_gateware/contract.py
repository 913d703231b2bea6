"""The contract for a user's Amaranth file: which of its classes is the design.

Pure functions over an imported module. Importing it and calling its classes runs the user's code, so the caller does
both inside its sandbox.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from amaranth.hdl import Elaboratable, Signal

from lutlab_bus import wire
from lutlab_gateware.soc import IO_BITS_MAX

WIDTHS = {
    "wb_cyc": 1,
    "wb_stb": 1,
    "wb_we": 1,
    "wb_adr": 9,
    "wb_dat_w": 32,
    "wb_sel": 4,
    "wb_dat_r": 32,
    "wb_ack": 1,
}
"""The signals a design must have and their widths in bits; `wb_adr` may have 1 to 24."""
OPTIONAL_WIDTHS = {"wb_err": 1, "io_leds": None, "io_buttons": None, "io_switches": None}
"""Signals that a design may have; those without a width have 1 to 32 bits, and as many as the board has at most."""
_ADDRESS = "wb_adr"


class ContractError(ValueError):
    """The file's classes do not answer which one is the design; the message says what to change."""

    code = "contract_error"


class NoTarget(ContractError):
    """No class comes close."""

    code = "no_target"


class AmbiguousTarget(ContractError):
    """Several classes fit."""

    code = "ambiguous_target"


class UnknownTop(ContractError):
    """`top` names no Elaboratable class of the file."""

    code = "unknown_top"


class WrongPorts(ContractError):
    """A class has some of the signals, or some of the wrong width."""

    code = "wrong_ports"


@dataclass(frozen=True)
class _Candidate:
    """A class of the module, an instance of it, and why it is not the design (empty: it is)."""

    name: str
    instance: Any
    flaw: str
    signals: int  # how many of the required names it has as Signals


def find_amaranth_target(module: ModuleType, top: str | None = None) -> Any:
    """The design in a user's module, as an instance ready for `Soc`.

    Of the Elaboratable classes that the module itself defines and that can be called without arguments, exactly one
    must have the eight `wb_*` Signals of the right widths; `top` picks one of several. Each candidate is called once.

    Args:
        module: imported by the caller.
        top: name of the class, if the user gave one.

    Returns:
        The instance that was examined; see `lutlab_gateware.soc.WishboneTarget`.

    Raises:
        ContractError: none fits, several fit, or `top` is missing or does not fit.
    """
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Elaboratable) and value.__module__ == module.__name__
    ]
    classes = list(dict.fromkeys(classes))  # one class may have two names
    if top is not None:
        return _named(classes, top)
    candidates = [_examine(cls) for cls in classes]
    fitting = [candidate for candidate in candidates if not candidate.flaw]
    if len(fitting) == 1:
        return fitting[0].instance
    if fitting:
        names = ", ".join(candidate.name for candidate in fitting)
        raise AmbiguousTarget(f"{len(fitting)} classes fit the Wishbone contract ({names}); name one as `top`")
    raise _none_fits(candidates)


def _named(classes: list[type[Elaboratable]], top: str) -> Any:
    for cls in classes:
        if cls.__name__ == top:
            candidate = _examine(cls)
            if candidate.flaw:
                raise WrongPorts(f"top {top!r} does not fit the Wishbone contract: {candidate.flaw}")
            return candidate.instance
    names = ", ".join(cls.__name__ for cls in classes) or "none"
    raise UnknownTop(f"top {top!r} is not an Elaboratable class of this file; it defines: {names}")


def _none_fits(candidates: list[_Candidate]) -> ContractError:
    """The error for a file without a design: about the near misses if there are any, else about every class."""
    if not candidates:
        return NoTarget("the file defines no Elaboratable class; a design is one with the Signals " + _listing())
    near = [candidate for candidate in candidates if candidate.signals]
    flaws = "; ".join(f"{candidate.name}: {candidate.flaw}" for candidate in near or candidates)
    error = WrongPorts if near else NoTarget
    return error(
        f"no class fits the Wishbone contract ({flaws}). A design is an Elaboratable with the Signals {_listing()}"
    )


def _listing() -> str:
    return ", ".join(f"{name}[{width}]" for name, width in WIDTHS.items())


def _examine(cls: type[Elaboratable]) -> _Candidate:
    try:
        instance: Any = cls()
    except Exception as fault:
        flaw = f"it cannot be made without arguments ({type(fault).__name__}: {fault})"
        return _Candidate(cls.__name__, None, flaw, 0)
    # Amaranth warns about elaboratables that are never elaborated; most of these only serve to look at.
    instance._MustUse__silence = True
    present = [name for name in WIDTHS if isinstance(getattr(instance, name, None), Signal)]
    missing = [name for name in WIDTHS if name not in present]
    flaws = [f"it has no Signal {', '.join(missing)}"] if missing else []
    flaws += [_width_flaw(name, getattr(instance, name, None)) for name in [*present, *OPTIONAL_WIDTHS]]
    return _Candidate(cls.__name__, instance, ", ".join(filter(None, flaws)), len(present))


def _width_flaw(name: str, signal: object) -> str:
    """What is wrong with a signal's width; empty if nothing, or if the signal is optional and absent."""
    if signal is None:
        return ""
    if not isinstance(signal, Signal):
        return f"its {name} is not a Signal"
    width = len(signal)
    if name == _ADDRESS:
        if 1 <= width <= wire.ADDRESS_BITS_MAX:
            return ""
        return f"its {name} is {width} bits wide instead of 1 to {wire.ADDRESS_BITS_MAX}"
    wanted = WIDTHS.get(name) or OPTIONAL_WIDTHS[name]
    if wanted is None:
        return "" if 1 <= width <= IO_BITS_MAX else f"its {name} is {width} bits wide instead of 1 to {IO_BITS_MAX}"
    return "" if width == wanted else f"its {name} is {width} bits wide instead of {wanted}"
