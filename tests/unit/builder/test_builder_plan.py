"""What names a build, and what does not."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

import lutlab_profiles
from lutlab_builder.domain.bundle import BASE_BUNDLE, Bundle, Language, SourceFile, read_upload
from lutlab_builder.domain.errors import BuildFailure, Code
from lutlab_builder.domain.plan import Plan, Recipe, make_plan
from lutlab_builder.domain.request import Options

RECIPE = Recipe({"amaranth": "0.5.10", "pyosys": "0.70"}, "d" * 64, seed=1)
OPTIONS = Options(profile="lfe5u-25f")
BUNDLE = Bundle(Language.VERILOG, "a.v", (SourceFile("a.v", b"1"), SourceFile("b.v", b"2")), ("b.v",))
PROFILE = lutlab_profiles.get("lfe5u-25f")


def plan(bundle: Bundle = BUNDLE, options: Options = OPTIONS, recipe: Recipe = RECIPE) -> Plan:
    return make_plan(bundle, options, PROFILE, recipe)


def test_the_same_inputs_have_the_same_name() -> None:
    assert plan() == plan()
    assert len(plan().build_key) == 64
    assert plan().build_id == int(plan().build_key[:8], 16)


@pytest.mark.parametrize(
    "other",
    [
        plan(bundle=dataclasses.replace(BUNDLE, entrypoint="b.v")),
        plan(bundle=dataclasses.replace(BUNDLE, verilog_sources=())),
        plan(bundle=dataclasses.replace(BUNDLE, files=BUNDLE.files[:1])),
        plan(bundle=dataclasses.replace(BUNDLE, files=(SourceFile("a.v", b"1"), SourceFile("b.v", b"3")))),
        plan(bundle=dataclasses.replace(BUNDLE, files=(SourceFile("a.v", b"12"), SourceFile("b.v", b"")))),
        plan(options=dataclasses.replace(OPTIONS, top="b")),
        plan(options=dataclasses.replace(OPTIONS, sys_clk_hz=60_000_000)),
        plan(options=dataclasses.replace(OPTIONS, timing_target_mhz=60.0)),
        plan(recipe=dataclasses.replace(RECIPE, seed=2)),
        plan(recipe=dataclasses.replace(RECIPE, gateware_digest="e" * 64)),
        plan(recipe=dataclasses.replace(RECIPE, tool_versions={"amaranth": "0.5.10", "pyosys": "0.71"})),
        make_plan(BUNDLE, OPTIONS, msgspec.structs.replace(PROFILE, uart_divider=8), RECIPE),
        plan(bundle=BASE_BUNDLE),
    ],
)
def test_every_input_counts(other: Plan) -> None:
    assert other.build_key != plan().build_key


def test_how_a_zip_was_packed_does_not_count() -> None:
    from test_builder_bundle import FILES, make_zip  # noqa: PLC0415

    forwards, backwards = make_zip(FILES), make_zip(dict(reversed(FILES.items())))
    assert forwards != backwards
    assert plan(read_upload("one.zip", forwards)) == plan(read_upload("two.zip", backwards))


def test_the_design_hash_is_that_of_the_sources_alone() -> None:
    assert plan(options=dataclasses.replace(OPTIONS, top="b")).design_hash == plan().design_hash
    assert plan().design_hash.startswith("sha256:")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"sys_clk_hz": 9_999_999}, Code.INVALID_SYS_CLK_FREQ),
        ({"sys_clk_hz": 200_000_001}, Code.INVALID_SYS_CLK_FREQ),
        ({"timing_target_mhz": 0.0}, Code.INVALID_TIMING_TARGET),
        ({"timing_target_mhz": float("nan")}, Code.INVALID_TIMING_TARGET),
        ({"timing_target_mhz": 1000.1}, Code.INVALID_TIMING_TARGET),
        ({"top": ""}, Code.INVALID_TOP),
        ({"top": "a; rm -rf /"}, Code.INVALID_TOP),
        ({"top": "a" * 129}, Code.INVALID_TOP),
    ],
)
def test_options_have_limits(options: dict[str, object], code: Code) -> None:
    with pytest.raises(BuildFailure) as caught:
        Options(profile="lfe5u-25f", **options)  # type: ignore[arg-type]
    assert caught.value.code is code


def test_options_at_their_limits_are_fine() -> None:
    Options(profile="lfe5u-25f", sys_clk_hz=10_000_000, timing_target_mhz=1000.0, top="_a$1")
    Options(profile="lfe5u-25f", sys_clk_hz=200_000_000)
