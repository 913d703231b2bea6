"""Name a build by everything that goes into it, so that the same inputs never run a tool twice."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from lutlab_builder.domain.bundle import Bundle
from lutlab_builder.domain.request import Options

PLAN_VERSION = 1
"""Raised when the meaning of a build key changes."""


@dataclass(frozen=True)
class Recipe:
    """What else than the upload decides about the bits.

    Attributes:
        tool_versions: package name -> version, of every tool that touches the design.
        gateware_digest: SHA-256 over the gateware's and the sandboxed programs' sources.
        seed: nextpnr's seed; fixed, so that a build can be repeated.
    """

    tool_versions: Mapping[str, str]
    gateware_digest: str
    seed: int

    @property
    def toolchain(self) -> str:
        """One line for a report."""
        return ", ".join(f"{name} {version}" for name, version in sorted(self.tool_versions.items()))


@dataclass(frozen=True)
class Plan:
    """A build with its name.

    Attributes:
        bundle: the design's files.
        options: how to build it.
        design_hash: `sha256:` and the digest of the sources alone.
        build_key: SHA-256 of sources, options, profile and recipe, 64 hexadecimal digits.
    """

    bundle: Bundle
    options: Options
    design_hash: str
    build_key: str

    @property
    def build_id(self) -> int:
        """The build key's first 32 bits, which the design answers in its hello."""
        return int(self.build_key[:8], 16)


def make_plan(bundle: Bundle, options: Options, profile: Any, recipe: Recipe) -> Plan:
    """The plan of a build.

    Args:
        profile: the device profile `options.profile` names, any msgspec-encodable value; every field counts.
    """
    sources = [[file.path, hashlib.sha256(file.data).hexdigest()] for file in bundle.files]
    design = [bundle.language, bundle.entrypoint, bundle.verilog_sources, sources]
    design_hash = _sha256(design)
    inputs = {
        "plan": PLAN_VERSION,
        "design": design_hash,
        "sys_clk_hz": options.sys_clk_hz,
        "top": options.top,
        "timing_target_mhz": options.timing_target_mhz,
        "profile": profile,
        "tools": dict(recipe.tool_versions),
        "gateware": recipe.gateware_digest,
        "seed": recipe.seed,
    }
    return Plan(bundle, options, f"sha256:{design_hash}", _sha256(inputs))


def _sha256(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()
