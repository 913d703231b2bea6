"""Load an Amaranth design and blame its errors on the right line of the user's file."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lutlab_builder.inside.loaded import DesignFailure, Loaded


def load(request: dict[str, Any]) -> Loaded:
    """The design's target, instantiated. Raises: DesignFailure."""
    from lutlab_gateware.contract import ContractError, find_amaranth_target  # noqa: PLC0415 - after the limits hold

    path = Path(request["design"]) / request["params"]["entrypoint"]
    with blame_design(request, os.getpid()):
        module = _import(path, Path(request["design"]))
        try:
            target = find_amaranth_target(module, request["params"]["top"])
        except ContractError as error:
            raise DesignFailure(error.code, str(error)) from None
    return Loaded(target, type(target).__name__)


def _import(path: Path, root: Path) -> Any:
    """Run the entrypoint. Files beside it and at the root of the bundle can be imported by their names."""
    for folder in dict.fromkeys((str(root), str(path.parent))):
        sys.path.insert(0, folder)
    taken = path.stem in sys.modules or path.stem in sys.stdlib_module_names
    name = path.stem if path.stem.isidentifier() and not taken else "user_design"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def blame_design(request: dict[str, Any], own_pid: int) -> Iterator[None]:
    """Turn whatever the design raises into a DesignFailure that names file and line.

    Args:
        own_pid: the program's first process. A process the design forked must not answer in its place.
    """
    root = Path(request["design"] or "/design")
    try:
        yield
    except DesignFailure:
        raise
    except BaseException as error:
        if os.getpid() != own_pid:
            os._exit(1)
        raise _failure(error, root) from None


def _failure(error: BaseException, root: Path) -> DesignFailure:
    traceback.print_exception(error)
    place = _place(error, root)
    name = type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return DesignFailure("syntax_error", f"{_relative(error.filename, root)}:{error.lineno}: {error.msg}")
    if isinstance(error, MemoryError):
        return DesignFailure("memory_limit", f"{place}the design asked for more memory than a build may use")
    no_thread = isinstance(error, RuntimeError) and "start new thread" in str(error)
    if no_thread or (isinstance(error, OSError) and error.errno == errno.EAGAIN):
        return DesignFailure("process_limit", f"{place}the design started more processes than a build may have")
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return DesignFailure("file_limit", f"{place}the design wrote a larger file than a build may have")
    text = str(error).strip()
    if _is_ours(error):
        return DesignFailure("bad_tool_output", f"the SoC could not be made: {name}: {text}")
    return DesignFailure("design_raised", f"{place}{name}: {text}" if text else f"{place}{name}")


def _is_ours(error: BaseException) -> bool:
    """Whether the gateware itself raised it, not the design or Amaranth on the design's behalf."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and "lutlab_gateware" in Path(frames[-1].filename).parts


def _place(error: BaseException, root: Path) -> str:
    """`file:line: ` of the innermost frame in the user's files, or nothing."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if Path(frame.filename).is_relative_to(root):
            return f"{_relative(frame.filename, root)}:{frame.lineno}: "
    return ""


def _relative(filename: str, root: Path) -> str:
    path = Path(filename)
    return str(path.relative_to(root)) if path.is_relative_to(root) else filename
