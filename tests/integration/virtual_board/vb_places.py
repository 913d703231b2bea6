"""Where the multipliers of the design `instances` are put."""

PLACES = {
    "m0.cell_": "X13/Y13/MULT18_0",
    "m1.cell_": "X14/Y13/MULT18_1",
    "m2.cell_": "X17/Y13/MULT18_4",
    "m3.cell_": "X4/Y13/MULT18_0",
    "m4.cell_": "X18/Y13/MULT18_5",
    "m5.cell_": "X22/Y13/MULT18_0",
    "m6.cell_": "X23/Y13/MULT18_1",
}
"""The one with an output register needs a DSP block of its own: the chip database leaves its enable open."""

RESETS_PLACES = {
    "m0.cell_": "X13/Y13/MULT18_0",
    "m1.cell_": "X14/Y13/MULT18_1",
    "m2.cell_": "X22/Y13/MULT18_0",
    "m3.cell_": "X17/Y13/MULT18_4",
    "m4.cell_": "X4/Y13/MULT18_0",
}


def slice_places(name: str, x: int) -> dict[str, str]:
    """An ALU and its multipliers, from the column of the ALU."""
    second = x in (11, 20, 29, 40, 49, 58, 67)
    first = 4 if second else 0
    return {
        f"{name}.mult0": f"X{x - 3}/Y13/MULT18_{first}",
        f"{name}.mult1": f"X{x - 2}/Y13/MULT18_{first + 1}",
        f"{name}.g.alu": f"X{x}/Y13/ALU54_{7 if second else 3}",
    }


_ALUS = {"s0": 11, "s1": 63, "s2": 20, "s3": 54, "s4": 45, "s5": 29, "s6": 25, "s7": 7, "s8": 36, "s9": 40, "s10": 49}
ALU_PLACES = {cell: bel for name, x in _ALUS.items() for cell, bel in slice_places(name, x).items()}
"""Where the slices of the design `alus` are put.

The chip database knows all bits of patterns and of the rounding constant only of a block's first ALU; the last slice
takes what its left neighbour makes.
"""
