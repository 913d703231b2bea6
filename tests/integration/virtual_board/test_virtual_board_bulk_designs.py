"""Real bitstreams decoded in bulk, in C, are what Python makes of them one by one: to the last net, or refused so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from vb_toolchain import Build

import lutlab_profiles
from lutlab_virtual_board import bulk
from lutlab_virtual_board.configuration import Configuration
from lutlab_virtual_board.errors import VirtualBoardError
from lutlab_virtual_board.programming import Translator

DESIGNS = ("everything", "instances", "alus", "selectors", "domains", "gsr", "sgsr", "soc85", "reset_product", "jtag")


@pytest.mark.parametrize("name", DESIGNS)
def test_a_design_is_the_same_in_bulk(
    name: str, builds: Callable[[str], Build], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = bulk.library()
    assert library is not None
    stream = builds(name).bit.read_bytes()
    translator = Translator(lutlab_profiles.get("lfe5um5g-85f" if name == "soc85" else "lfe5u-25f"), cache)
    in_bulk = told(translator, stream)
    monkeypatch.setattr(bulk, "library", lambda: None)
    assert in_bulk == told(translator, stream)


def told(translator: Translator, stream: bytes) -> list[object]:
    """Everything that is made of a stream."""
    try:
        translation = translator.translate(stream)
    except VirtualBoardError as error:
        return [type(error), str(error)]
    configuration = Configuration(translator.database(), translation.bitstream)
    tiles = [(place, each) for place, each in configuration.tiles.items() if each]
    netlist = translation.netlist
    return [translation.program, repr(netlist), netlist.names, configuration.arcs, repr(tiles)]
