"""A project as engines see it: its configuration and the files that the configuration names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # reading a configuration makes projects, so that a real import would go round in a circle
    from lutlab_verify.config.model import Config


@dataclass(frozen=True)
class Project:
    """A configuration and its files, all paths relative to `root` and with `/` between folders.

    Sources and test benches stand in the order of the patterns that name them, sorted within a pattern: a package comes
    first where its author put it first.

    Attributes:
        root: the folder of the uploaded files on the host; read, never written.
        config: after overrides.
        sources: the design, `exclude` taken out.
        testbenches: simulation test benches: cocotb `.py`, Verilog, SystemVerilog.
        properties: files with properties for the formal stage.
        includes: folders to search for `include`.
    """

    root: Path
    config: Config
    sources: tuple[str, ...]
    testbenches: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()

    @property
    def top(self) -> str:
        """The design's top module."""
        return self.config.project.top_module
