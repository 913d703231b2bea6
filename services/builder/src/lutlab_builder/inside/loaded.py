"""What loading a design yields, or how it says what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lutlab_builder.inside.yosys import Yosys


@dataclass(frozen=True)
class Loaded:
    """A design ready for the SoC.

    Attributes:
        target: an object with the contract's signals.
        name: the class or module it came from.
        yosys: the yosys design its Verilog was read into, if it was.
    """

    target: Any
    name: str
    yosys: Yosys | None = None


class DesignFailure(Exception):
    """The design is at fault; `code` is one of the builder's stable codes."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
