"""Which engine carries out a stage. Engines are imported when they are first needed: most stages need few of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module

from lutlab_verify.stage import Stage, StageContext, StageResult, Unsupported

Engine = Callable[[StageContext], Awaitable[StageResult]]

MODULES = {stage: f"lutlab_verify.{stage.value}" for stage in Stage}
"""The package of each engine; it exports `run` and a `RESULT` that describes summary and details."""


def engine(stage: Stage) -> Engine:
    """The engine of a stage. Raises: Unsupported, if this version has none."""
    name = MODULES[stage]
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise Unsupported(f"stage {stage.value!r} cannot be carried out by this version") from error
    run: Engine = module.run
    return run
