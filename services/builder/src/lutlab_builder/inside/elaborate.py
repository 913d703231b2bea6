"""Elaborate a user's design into the SoC: source files in, one RTLIL file out. RUNS USER CODE.

Whatever this program writes is the user's word: the host reads it with limits and takes no decision on it that could
hurt anyone but the user.
"""

from __future__ import annotations

import json
import os
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lutlab_builder.inside import amaranth_design, verilog_design
from lutlab_builder.inside.loaded import DesignFailure, Loaded


def _base_design(_request: dict[str, Any]) -> Loaded:
    from lutlab_gateware.base import BaseTarget  # noqa: PLC0415 - only the base design's own build needs it

    return Loaded(BaseTarget(), "BaseTarget")


def main(request: dict[str, Any]) -> int:
    """Write `design.il` and `result.json`; 0 if the design was elaborated."""
    own_pid = os.getpid()
    params, outputs = request["params"], request["outputs"]
    loaders: dict[str, Callable[[dict[str, Any]], Loaded]] = {
        "amaranth": amaranth_design.load,
        "verilog": verilog_design.load,
        "base": _base_design,
    }
    try:
        loaded = loaders[params["language"]](request)
        with amaranth_design.blame_design(request, own_pid):
            _check_panel(loaded.target, params)
            text = _to_rtlil(loaded.target, params)
            address_words = 1 << len(loaded.target.wb_adr)
        _write_rtlil(text, loaded, request)
        result = {"ok": True, "target": loaded.name, "address_words": address_words}
    except DesignFailure as failure:
        result = {"ok": False, "code": failure.code, "message": failure.message}
    except Exception as error:
        traceback.print_exception(error)
        result = {"ok": False, "code": "bad_tool_output", "message": f"the SoC could not be made: {error!r}"}
    if os.getpid() != own_pid:
        os._exit(1)  # a process the design forked came back here; only the first one answers
    Path(outputs["result.json"]).write_text(json.dumps(result), encoding="utf-8")
    # The design may have left threads or exit handlers: end without giving them a turn.
    os._exit(0 if result["ok"] else 1)


def _check_panel(target: Any, params: dict[str, Any]) -> None:
    from lutlab_gateware.soc import Panel, TooManyPins  # noqa: PLC0415

    try:
        Panel(**params["panel"]).check(target)
    except TooManyPins as error:
        raise DesignFailure(error.code, str(error)) from None


def _to_rtlil(target: Any, params: dict[str, Any]) -> str:
    from lutlab_gateware.emit import emit_rtlil  # noqa: PLC0415
    from lutlab_gateware.pll import Pll  # noqa: PLC0415
    from lutlab_gateware.soc import Panel, Soc  # noqa: PLC0415

    panel = Panel(**params["panel"])
    pll = Pll(params["oscillator_hz"], params["clk_hz"]) if params["clk_hz"] != params["oscillator_hz"] else None
    names = ("divider", "build_id", "clk_hz")
    soc = Soc(target, pll=pll, panel=panel, **{name: params[name] for name in names})
    return emit_rtlil(soc, params["soc_name"])


def _write_rtlil(text: str, loaded: Loaded, request: dict[str, Any]) -> None:
    """The SoC and the Verilog files it instantiates, linked into one RTLIL file."""
    output = request["outputs"]["design.il"]
    if not verilog_design.units(request):
        Path(output).write_text(text, encoding="utf-8")
        return
    with tempfile.TemporaryDirectory() as folder:
        soc = Path(folder) / "soc.il"
        soc.write_text(text, encoding="utf-8")
        verilog_design.link(request, loaded.yosys, soc, output)
