"""Pads that constraints make open drains, pulled or not, and differential pairs."""

from __future__ import annotations

import random
from pathlib import Path

from vb_toolchain import build, pins_of

import lutlab_profiles
from lutlab_virtual_board.compiler import compile_now, find_tcc
from lutlab_virtual_board.fabric import Fabric
from lutlab_virtual_board.programming import Translator

CYCLES = 400
DRAINS = {"R18": ("UP", 1), "V1": ("DOWN", 0), "E8": ("NONE", 1)}
"""Pins with an open drain, their pull, and the level that an open one has."""

TRUE, COMPLEMENT = "B2", "C2"
"""A pair; both are LEDs of the board."""

CONSTRAINTS = [
    f'LOCATE COMP "q" SITE "{TRUE}"; IOBUF PORT "q" IO_TYPE=LVCMOS33D;',
    *(
        f'LOCATE COMP "d[{k}]" SITE "{pin}"; IOBUF PORT "d[{k}]" IO_TYPE=LVCMOS33 OPENDRAIN=ON PULLMODE={pull};'
        for k, (pin, (pull, _)) in enumerate(DRAINS.items())
    ),
]


def test_an_open_drain_lets_go_of_ones_and_a_pair_shows_both_levels(tmp_path: Path, translator: Translator) -> None:
    built = build(tmp_path, "pins", ["everything.v", "pins.v"], pack_raw=False, constraints=CONSTRAINTS)
    plain = [pins_of(lutlab_profiles.get("lfe5u-25f"))[f"o[{bit}]"] for bit in range(7)]
    observed = [*plain, *DRAINS, TRUE, COMPLEMENT]
    program = translator.translate(built.bit.read_bytes(), observed).program
    assert sorted(program.inputs) == sorted(DRAINS)
    tcc, source = find_tcc(), random.Random(1)
    assert tcc is not None
    outside = [{pin: source.getrandbits(1) for pin in program.inputs} for _ in range(CYCLES)]
    fabric = Fabric(compile_now(tcc, program.source.encode()))
    levels = fabric.trace(bytes(row[pin] for row in outside for pin in program.inputs), CYCLES, len(observed))
    fabric.close()
    let_go = set()
    for cycle, row in enumerate(outside):
        seen = dict(zip(observed, levels[len(observed) * cycle :], strict=False))
        for number, (pin, (_, open_level)) in enumerate(DRAINS.items()):
            released, reads = seen[plain[number]], seen[plain[3 + number]]
            assert seen[pin] == (open_level if released else 0), f"{pin} in cycle {cycle}"
            assert reads == (row[pin] if released else 0), f"what {pin} reads in cycle {cycle}"
            let_go.add((pin, released, row[pin]))
        assert (seen[TRUE], seen[COMPLEMENT]) == (seen[plain[6]], 1 - seen[plain[6]])
    assert len(let_go) == 4 * len(DRAINS)
