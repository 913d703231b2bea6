"""Every device whose database is known: one design programs and runs on each, and each refuses the others'."""

from __future__ import annotations

import random
import shutil
import subprocess
from itertools import islice
from pathlib import Path

import msgspec
import pytest
from vb_conformance import Case, noise, simulator
from vb_random_design import random_design
from vb_toolchain import BIN, DEVICES, Build, build, pins_of, place

import lutlab_profiles
from lutlab_virtual_board.bitstream import parse
from lutlab_virtual_board.compiler import compile_now, find_tcc
from lutlab_virtual_board.errors import IdcodeMismatch
from lutlab_virtual_board.fabric import Fabric
from lutlab_virtual_board.programming import Translator

CYCLES = 5000
DIES = [
    ("lfe5u-25f", "lfe5u-12f"),
    ("lfe5um-25f", "lfe5um5g-25f"),
    ("lfe5u-45f",),
    ("lfe5um-45f", "lfe5um5g-45f"),
    ("lfe5u-85f",),
    ("lfe5um-85f", "lfe5um5g-85f"),
]
"""Devices that share a placed design; the packer puts the name of one into the stream."""

Reference = tuple[Build, bytes, bytes]
"""A synthesized design, what its serial input sees, and its outputs."""


def packed_for(built: Build, placed: str, device: str) -> bytes:
    """A placed design's bitstream for another device with the same die."""
    text = built.path("config").read_text()
    assert text.count(f".device {placed}\n") == 1
    built.path("other.config").write_text(text.replace(f".device {placed}\n", f".device {device}\n"))
    names = built.path("other.config").name, built.path("other.bit").name
    subprocess.run([BIN / "yowasp-ecppack", "--compress", *names], cwd=built.folder, check=True)
    return built.path("other.bit").read_bytes()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    folder = tmp_path_factory.mktemp("devices")
    source = folder / "chip.v"
    source.write_text(random_design(seed=11, pieces=10))
    built = build(folder, "chip", [str(source)], pack_raw=False)
    stimulus = bytes(islice(noise(random.Random(1)), CYCLES))
    simulation = simulator(folder, Case("chip", "chip", (str(source),), stimulus=noise))
    return built, stimulus, subprocess.run([simulation], input=stimulus, stdout=subprocess.PIPE, check=True).stdout


def test_the_dies_are_of_all_profiles() -> None:
    assert {name for names in DIES for name in names} == set(DEVICES)


@pytest.mark.skipif(shutil.which("g++") is None, reason="the reference simulator needs g++")
@pytest.mark.parametrize("names", DIES, ids=lambda names: names[0])
def test_a_design_runs_on_every_device_and_only_on_its_own(
    reference: Reference, cache: Path, names: tuple[str, ...]
) -> None:
    built, stimulus, wanted = reference
    placed = lutlab_profiles.get(names[0])
    if names != DIES[0]:
        place(built, placed)
    tcc = find_tcc()
    assert tcc is not None
    for name in names:
        profile = lutlab_profiles.get(name)
        stream = packed_for(built, placed.device, profile.device)
        observed = [pins_of(profile)[f"o[{bit}]"] for bit in range(16)]
        translator = Translator(profile, cache)
        program = translator.translate(stream, observed).program
        fabric = Fabric(compile_now(tcc, program.source.encode()))
        assert program.inputs == [profile.pins.rx]
        got = fabric.trace(stimulus, CYCLES, 16)
        fabric.close()
        assert got == wanted, name
        geometry = translator.database().device
        for other in set(DEVICES) - {name}:
            with pytest.raises(IdcodeMismatch):
                parse(stream, msgspec.structs.replace(geometry, idcode=lutlab_profiles.get(other).idcode))
