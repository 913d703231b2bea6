"""Read Verilog with yosys, find the module with the contract's ports, and link it with the SoC.

On an error in the source the yosys library prints `file:line: ERROR: ...` and ends the process with status 1; the host
reads that line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lutlab_builder.inside.loaded import DesignFailure, Loaded
from lutlab_builder.inside.yosys import Yosys

INPUTS = {"clk": 1, "rst": 1, "wb_cyc": 1, "wb_stb": 1, "wb_we": 1, "wb_adr": None, "wb_dat_w": 32, "wb_sel": 4}
OUTPUTS = {"wb_dat_r": 32, "wb_ack": 1}
OPTIONAL_OUTPUTS = {"wb_err": 1}
PANEL = {"io_leds": "out", "io_buttons": "in", "io_switches": "in"}
"""What a design may also have: the board's LEDs, buttons and switches, 1 to 32 bits each."""
IO_BITS_MAX = 32
ADDRESS_BITS_MAX = 24
_NAMES_MAX = 20


def units(request: dict[str, Any]) -> list[str]:
    """The Verilog files to compile, relative to the bundle, in order."""
    params = request["params"]
    first = [params["entrypoint"]] if params["language"] == "verilog" else []
    return [*first, *params["verilog_sources"]]


def read(request: dict[str, Any]) -> Yosys:
    """The bundle's Verilog, read."""
    yosys = Yosys()
    folders = " ".join(f"-I./{folder}" for folder in request["params"]["folders"])
    for unit in units(request):
        # `./` keeps a name that begins with a dash from being read as an option.
        dialect = "-sv " if unit.endswith(".sv") else ""
        yosys.run(f"read_verilog {dialect}{folders} ./{unit}")
    return yosys


def load(request: dict[str, Any]) -> Loaded:
    """The design as an Amaranth instance of its module. Raises: DesignFailure."""
    from lutlab_gateware.soc import VerilogTarget  # noqa: PLC0415 - after the limits hold

    yosys = read(request)
    modules = yosys.ports()
    name = choose(modules, request["params"]["top"])
    ports = modules[name]
    io_bits = {port: ports[port][1] for port in PANEL if port in ports}
    target = VerilogTarget(name, address_bits=ports["wb_adr"][1], has_err="wb_err" in ports, io_bits=io_bits)
    return Loaded(target, name, yosys)


def link(request: dict[str, Any], yosys: Yosys | None, soc: Path, output: str) -> None:
    """Write the SoC and the design's modules as one RTLIL file; `yosys` is None where nothing was read yet."""
    design = yosys or read(request)
    design.run(f"read_rtlil {soc}")
    design.run(f"write_rtlil {output}")


def objections(ports: dict[str, tuple[str, int]]) -> list[str]:
    """What keeps a module from having the contract's ports; empty if nothing does."""
    found = []
    wanted = {name: ("in", width) for name, width in INPUTS.items()}
    wanted |= {name: ("out", width) for name, width in OUTPUTS.items()}
    for name, (direction, width) in wanted.items():
        if name not in ports:
            found.append(f"{name} is missing")
        elif ports[name][0] != direction:
            found.append(f"{name} must be {direction}put")
        elif width is None and not 1 <= ports[name][1] <= ADDRESS_BITS_MAX:
            found.append(f"{name} has {ports[name][1]} bits, must have 1 to {ADDRESS_BITS_MAX} (9 for 512 words)")
        elif width is not None and ports[name][1] != width:
            found.append(f"{name} has {ports[name][1]} bits, must have {width}")
    for name, port in ports.items():
        if name in OPTIONAL_OUTPUTS and port != ("out", OPTIONAL_OUTPUTS[name]):
            found.append(f"{name} must be an output of {OPTIONAL_OUTPUTS[name]} bit")
        elif name in PANEL:
            if port[0] != PANEL[name] or not 1 <= port[1] <= IO_BITS_MAX:
                found.append(f"{name} must be an {PANEL[name]}put of 1 to {IO_BITS_MAX} bits")
        elif name not in wanted and name not in OPTIONAL_OUTPUTS:
            found.append(f"{name} is not part of the contract")
    return found


def choose(modules: dict[str, dict[str, tuple[str, int]]], top: str | None) -> str:
    """The module to build.

    Args:
        modules: name -> ports.
        top: the module the user names, None to find the only one with the contract's ports.

    Raises:
        DesignFailure: `unknown_top`, `wrong_ports`, `no_target` or `ambiguous_target`, as for Amaranth designs.
    """
    if top is not None:
        if top not in modules:
            raise DesignFailure("unknown_top", f"there is no module {top!r}; the modules are {_names(modules)}")
        if complaints := objections(modules[top]):
            raise DesignFailure("wrong_ports", f"module {top!r}: {'; '.join(complaints)}")
        return top
    fitting = [name for name, ports in modules.items() if not objections(ports)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DesignFailure(
            "ambiguous_target", f"several modules have the contract's ports: {_names(fitting)}; name one as `top`"
        )
    near = {name: ports for name, ports in modules.items() if "wb_cyc" in ports or "wb_adr" in ports}
    if near:
        complaints = [f"module {name!r}: {'; '.join(objections(ports))}" for name, ports in near.items()]
        raise DesignFailure("wrong_ports", " / ".join(complaints[:_NAMES_MAX]))
    raise DesignFailure(
        "no_target",
        f"no module has the ports {' '.join([*INPUTS, *OUTPUTS])}; the modules are {_names(modules)}",
    )


def _names(names: Any) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - _NAMES_MAX} more" if len(listed) > _NAMES_MAX else ""
    return (", ".join(listed[:_NAMES_MAX]) or "(none)") + more
