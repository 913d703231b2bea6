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
