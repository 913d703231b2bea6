"""The decoder's findings beside the tools' own view of the same bits: ecpunpack's configuration, nextpnr's netlist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from vb_toolchain import Build

from lutlab_virtual_board import trellis
from lutlab_virtual_board.bitstream import parse
from lutlab_virtual_board.configuration import Configuration
from lutlab_virtual_board.netlist import Function, Net, Netlist, RegisterOutput
from lutlab_virtual_board.trellis import STRIDE
from lutlab_virtual_board.wires import Wire, absolute, strip_die

FABRIC = re.compile(r"PLC2|CIB.*|TAP_DRIVE.*|VCIB.*")
"""Tiles whose choices are unambiguous, so that both decoders must name the same values."""


def configuration_of(built: Build, device: str, cache: Path) -> Configuration:
    database = trellis.load(device, cache)
    return Configuration(database, parse(built.bit.read_bytes(), database.device))


def unpacked(text: str, die: str) -> set[tuple[str, ...]]:
    """ecpunpack's findings: arcs between absolute wires, and fabric tiles' settings."""
    found: set[tuple[str, ...]] = set()
    tile = ""
    for line in text.splitlines():
        words = line.split()
        if line.startswith("."):
            tile = words[1] if words[0] == ".tile" else ""
        elif words and tile:
            place = re.search(r"R(\d+)C(\d+)", tile)
            assert place
            if words[0] == "arc:":
                wires = [absolute(int(place[2]), int(place[1]), strip_die(name, die) or name) for name in words[1:]]
                found.add(("arc", *map(str, wires)))
            elif FABRIC.fullmatch(tile.partition(":")[2]):
                value = str(int(words[2], 2)) if words[0] == "word:" else words[-1]
                found.add((words[0], tile, words[1], value))
    return found


def decoded(configuration: Configuration) -> set[tuple[str, ...]]:
    """The same of our own."""
    found = {("arc", str(sink), str(source)) for sink, source in configuration.arcs.items()}
    for tiles in configuration.tiles.values():
        for each in tiles:
            if FABRIC.fullmatch(each.tile.kind):
                name = each.tile.name
                found |= {("enum:", name, key, value) for key, value in each.choices.items()}
                found |= {("word:", name, key, str(value)) for key, value in each.words.items()}
                bits = [f"F{bit // STRIDE}B{bit % STRIDE}" for bit in each.unexplained]
                found |= {("unknown:", name, bit, bit) for bit in bits}
    return found


class Oracle:
    """nextpnr's placed netlist, by the wires its cells drive."""

    def __init__(self, path: Path) -> None:
        module = next(iter(json.loads(path.read_text())["modules"].values()))
        self.cells: dict[str, dict[str, Any]] = module["cells"]
        self.wires: dict[int, str] = {}
        self.constants: dict[str, Net] = {}
        for cell in self.cells.values():
            place = self.place(cell)
            if place:
                wire, index = place
                ports = {"Q": f"Q{index}_SLICE", "F": f"F{index}_SLICE"}
                for port, name in ports.items():
                    for net in cell["connections"].get(port, []):
                        self.wires[net] = str(Wire(*wire, name))
                        init = cell["parameters"].get("INITVAL", "")
                        if port == "F" and len(set(init)) == 1:
                            self.constants[self.wires[net]] = int(init[0])

    @staticmethod
    def place(cell: dict[str, Any]) -> tuple[tuple[int, int], int] | None:
        """Column, row and index in the tile of a LUT or register."""
        match = re.match(
            r"X(\d+)/Y(\d+)/SLICE([A-D])\.(?:K|COMB|FF|LUT)(\d)", cell["attributes"].get("NEXTPNR_BEL", "")
        )
        return ((int(match[1]), int(match[2])), "ABCD".index(match[3]) * 2 + int(match[4])) if match else None

    def input(self, cell: dict[str, Any], port: str) -> str | None:
        """The wire that drives a cell's input, if a LUT or register does."""
        nets = cell["connections"].get(port, [])
        return self.wires.get(nets[0]) if nets else None


def function_values(netlist: Netlist, function: Function, names: list[str]) -> list[int]:
    """A function's output for every combination of levels on named wires; constants are what they are."""
    values = []
    for row in range(1 << len(names)):
        level = {name: row >> bit & 1 for bit, name in enumerate(names)}
        inputs = [net if net in (0, 1) else level[netlist.names[net]] for net in function.inputs]
        values.append(function.table >> sum(value << bit for bit, value in enumerate(inputs)) & 1)
    return values


def check_luts(oracle: Oracle, netlist: Netlist) -> tuple[int, int]:
    """Every LUT is the function that nextpnr placed; how many were checked, and how many have permuted inputs."""
    nets: dict[str, Net] = {name: net for net, name in netlist.names.items()}
    checked = permuted = 0
    for name, cell in oracle.cells.items():
        place = oracle.place(cell)
        parameters = cell["parameters"]
        if cell["type"] != "TRELLIS_COMB" or parameters.get("MODE", "LOGIC").strip() != "LOGIC" or not place:
            continue
        ports = {port: oracle.input(cell, port) for port in "ABCD"}
        connected = [port for port in "ABCD" if cell["connections"].get(port)]
        net = nets.get(str(Wire(*place[0], f"F{place[1]}_SLICE")))
        if net is None or any(ports[port] is None for port in connected):
            continue
        driver = netlist.drivers[net]
        assert isinstance(driver, Function)
        names = sorted({wire for wire in ports.values() if wire})
        init = int(parameters["INITVAL"], 2)
        wanted = []
        for row in range(1 << len(names)):
            level = {wire: row >> bit & 1 for bit, wire in enumerate(names)}
            index = sum((level[wire] if (wire := ports[port]) else 1) << bit for bit, port in enumerate("ABCD"))
            wanted.append(init >> index & 1)
        assert function_values(netlist, driver, names) == wanted, name
        checked += 1
        permuted += init != driver.table
    return checked, permuted


def check_registers(oracle: Oracle, netlist: Netlist) -> int:
    """Every register loads what nextpnr connected; how many were checked."""
    held: dict[str, int] = {}
    for net, name in netlist.names.items():
        driver = netlist.drivers[net]
        if isinstance(driver, Function) and driver.inputs and name.partition(" ")[2].startswith("Q"):
            driver = netlist.drivers[driver.inputs[0]]
        if isinstance(driver, RegisterOutput):
            held[name] = driver.index
    checked = 0
    for name, cell in oracle.cells.items():
        place = oracle.place(cell)
        if cell["type"] != "TRELLIS_FF" or not place:
            continue
        index = held.get(str(Wire(*place[0], f"Q{place[1]}_SLICE")))
        source = oracle.input(cell, "DI") or oracle.input(cell, "M")
        if index is None or source is None:
            continue
        register = netlist.registers[index]
        if register.d in (0, 1):
            assert oracle.constants.get(source) == register.d, name
        else:
            assert netlist.names.get(register.d) == source, name
        assert register.value == (cell["parameters"]["REGSET"].strip() == "SET"), name
        assert register.falling == (cell["parameters"].get("CLKMUX", "CLK").strip() == "INV"), name
        if cell["parameters"]["CEMUX"].strip() == "CE" and (enable := oracle.input(cell, "CE")):
            assert netlist.names.get(register.enable) == enable, name
        checked += 1
    return checked


def configuration_differences(built: Build, device: str, cache: Path, text: str) -> tuple[int, list[tuple[str, ...]]]:
    """How much ecpunpack found, and what one of the two decoders found alone."""
    die = trellis.die_prefix(device)
    theirs = unpacked(text, die)
    ours = decoded(configuration_of(built, device, cache))
    # ecpunpack also reports what erased tiles default to; nothing routes through those.
    silent = {entry for entry in theirs - ours if entry[0] == "arc" and "ECLK" in entry[1]}
    return len(theirs), sorted((theirs - silent) ^ ours)
