"""Reading lutlab.yaml: what is accepted, what is refused, and what is said then."""

from __future__ import annotations

import fnmatch
import time
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from lutlab_verify.config import (
    ConfigError,
    load,
    override_of,
    parse,
    refuse_unsupported,
    schema,
    stages_of,
    starter,
)
from lutlab_verify.config.globs import match
from lutlab_verify.config.model import CoverageSection
from lutlab_verify.config.nearest import distance
from lutlab_verify.config.reference import update
from lutlab_verify.config.shape import every_field
from lutlab_verify.stage import Stage, Unsupported

GOOD = """\
project:
  name: ntt-butterfly
  top_module: ntt_butterfly
  target_pdk: sky130
  version: 1.10.0
  defines: {WIDTH: 8, MASK: 0x0F, DEBUG: true, FAST: }
design:
  sources: [rtl/pkg.sv, rtl/**/*.v]
  includes: [rtl/include]
  exclude: ["**/old_*.v"]
verification:
  simulation:
    tool: icarus
    testbenches: tb/test_*.py
    coverage: true
    plusargs: {depth: 16}
  formal:
    depth: 100
  crypto_verification:
    fips_compliance: {level: "140-3 Level 2", checks: [key_zeroization, rng_health_tests]}
    ntt_validation: {exhaustive_test: true}
analysis:
  timing: {clock_period: "10.0ns"}
"""
FILES = {
    "rtl/pkg.sv": b"",
    "rtl/z.v": b"",
    "rtl/a/b.v": b"",
    "rtl/a/old_b.v": b"",
    "rtl/include/h.vh": b"",
    "rtl/notes.txt": b"",
    "tb/test_b.py": b"",
    "tb/test_a.py": b"",
}


def project(old: str = "", new: str = "", overrides: dict[str, Any] | None = None, **more: bytes) -> Any:
    assert old in GOOD
    return load({**FILES, **more, "lutlab.yaml": GOOD.replace(old, new).encode()}, overrides)


def refused(old: str = "", new: str = "", overrides: dict[str, Any] | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        project(old, new, overrides)
    assert caught.value.code == "VALIDATION_ERROR"
    return caught.value


def test_the_reference_s_spellings_are_read() -> None:
    found = project()
    config = found.config
    assert found.sources == ("rtl/pkg.sv", "rtl/a/b.v", "rtl/z.v")  # the patterns' order, sorted within one
    assert found.testbenches == ("tb/test_a.py", "tb/test_b.py")
    assert found.includes == ("rtl/include",)
    assert config.project.version == "1.10.0"
    assert config.project.defines == {"WIDTH": "8", "MASK": "0x0F", "DEBUG": "1", "FAST": ""}
    assert config.verification.simulation.coverage == CoverageSection()
    assert config.verification.simulation.plusargs == {"depth": "16"}
    assert config.verification.crypto_verification.fips_compliance.level == 2
    assert config.verification.crypto_verification.ntt_validation.exhaustive is True
    assert config.analysis.timing.period_ns == 10.0


def test_a_folder_is_read_like_its_files_and_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "secret.v"
    outside.write_text("module secret; endmodule")
    root = tmp_path / "project"
    for name, data in {**FILES, "lutlab.yaml": GOOD.encode()}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (root / "rtl" / "linked.v").symlink_to(outside)
    (root / "rtl" / "linked").symlink_to(tmp_path)
    found = load(root)
    assert found.root == root
    assert found.sources == project().sources


@pytest.mark.parametrize(
    ("old", "new", "field", "line", "suggestion"),
    [
        ("  simulation:", "  simlation:", "verification.simlation", 12, "verification.simulation"),
        ("tool: icarus", "tool: ikarus", "verification.simulation.tool", 13, "icarus"),
        ("sky130", "sky13", "project.target_pdk", 4, "sky130"),
        ("depth: 100", "detph: 100", "verification.formal.detph", 18, "verification.formal.depth"),
        ("depth: 100", "depth: '100'", "verification.formal.depth", 18, None),
        ("depth: 100", "depth: true", "verification.formal.depth", 18, None),
        ("depth: 100", "depth: 0", "verification.formal.depth", 18, None),
        ("depth: 100", "seed: 100", "verification.formal.seed", 18, "verification.simulation.seed"),
        ("rtl/pkg.sv", "rtl/pkgs.sv", "design.sources.0", 8, "rtl/pkg.sv"),
        ("rtl/pkg.sv", "../pkg.sv", "design.sources.0", 8, None),
        ("rtl/pkg.sv", "/etc/passwd", "design.sources.0", 8, None),
        ("rtl/pkg.sv", "rtl/*.txt", "design.sources.0", 8, None),
        ("[rtl/include]", "[rtl/inclde]", "design.includes.0", 9, "rtl/include"),
        ("coverage: true", "coverage: {lines: true}", "verification.simulation.coverage.lines", 15,
         "verification.simulation.coverage.line"),
        ("coverage: true", "coverage: 3", "verification.simulation.coverage", 15, None),
        ("key_zeroization", "key_zeroisation", "verification.crypto_verification.fips_compliance.checks.0", 20,
         "key_zeroization"),
        ("140-3 Level 2", "140-3 Level 5", "verification.crypto_verification.fips_compliance.level", 20, None),
        ("10.0ns", "10 parsec", "analysis.timing.clock_period", 23, None),
        ("  top_module: ntt_butterfly\n", "", "project.top_module", 1, None),
        ("version: 1.10.0", "version: 1.10", "project.version", 5, None),
        ("FAST: ", "FAST: false", "project.defines.FAST", 6, None),
        ("name: ntt-butterfly", "name: ntt-butterfly\n  name: b", "", 3, None),
        ("name: ntt-butterfly", "name: &a [*a]", "", 2, None),
        ("name: ntt-butterfly", "name: a: b", "", 2, None),
    ],
)  # fmt: skip
def test_an_error_names_field_line_and_what_was_meant(
    old: str, new: str, field: str, line: int, suggestion: str | None
) -> None:
    error = refused(old, new)
    assert (error.field, error.line, error.suggestion) == (field, line, suggestion)
    assert str(error).startswith("Invalid lutlab.yaml: ")


def test_the_contract_s_own_example() -> None:
    with pytest.raises(ConfigError) as caught:
        load({**FILES, "openforge.yaml": GOOD.replace("simulation:", "simlation:").encode()})
    assert str(caught.value) == "Invalid openforge.yaml: unknown field 'simlation'"
    assert caught.value.details["field"] == "verification.simlation"
    assert caught.value.details["suggestion"] == "verification.simulation"


def test_every_problem_is_told_at_once() -> None:
    error = refused("tool: icarus\n", "tool: ikarus\n    depth: 3\n    seed: x\n")
    assert [problem.line for problem in error.problems] == [13, 14, 15]
    assert [entry["line"] for entry in error.details["problems"]] == [13, 14, 15]


def test_one_configuration_and_no_more() -> None:
    with pytest.raises(ConfigError, match="and openforge"):
        project(**{"openforge.yaml": b""})
    with pytest.raises(ConfigError, match="no lutlab"):
        load(FILES)
    with pytest.raises(ConfigError, match="empty"):
        load({"lutlab.yaml": b"# nothing\n"})


def test_overrides_are_typed_and_keep_what_they_do_not_name() -> None:
    found = project(overrides={"verification.formal.depth": 7, "design.sources": "rtl/z.v"})
    assert found.config.verification.formal.depth == 7
    assert found.sources == ("rtl/z.v",)
    found = project("coverage: true", "coverage: false", {"verification.simulation.coverage.fsm": True})
    assert found.config.verification.simulation.coverage == CoverageSection(line=False, toggle=False, fsm=True)


@pytest.mark.parametrize(
    ("path", "value", "suggestion"),
    [
        ("verification.simlation.coverage", True, "verification.simulation"),
        ("verification.formal.depth", "7", None),
        ("verification.formal.depth", {"a": 1}, None),
        ("verification.simulation.tool", "verilater", "verilator"),
        ("verification..depth", 1, None),
        ("a.b.c.d.e.f.g.h.i.j.k.l.m", 1, None),
    ],
)
def test_a_wrong_override_is_told_like_a_wrong_field(path: str, value: object, suggestion: str | None) -> None:
    error = refused(overrides={path: value})
    assert str(error).startswith("Invalid config_overrides: ")
    assert error.line is None
    assert error.suggestion == suggestion
    assert path.startswith(error.field)


@pytest.mark.parametrize(
    "text",
    [
        "{" * 60_000,
        "[a," * 20_000,
        "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"b{i}: &b{i} [*a,*a,*a,*a]\n" for i in range(200)),
        "- " * 30_000,
        "x" * 70_000,
        "a: " + "9" * 10_000,
        "a: !!python/object/apply:os.system [id]",
        "\x00",
        b"\xff\xfe",
        "? [a]\n: b",
        "a: 1\n---\nb: 2",
    ],
    ids=range(11),
)
def test_hostile_documents_end_soon_and_in_one_error(text: str | bytes) -> None:
    began = time.process_time()
    with pytest.raises(ConfigError):
        parse(text)
    assert time.process_time() - began < 2.0


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@,?\n \t0.~", max_size=60))
def test_whatever_is_written_ends_in_a_configuration_or_an_error(text: str) -> None:
    with pytest.raises(ConfigError):  # none of these has a project section
        parse(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([".".join(path) for path in every_field()]), json_values)
def test_whatever_an_override_says_is_typed_or_refused(path: str, value: object) -> None:
    try:
        config = parse(GOOD, {path: value})
    except ConfigError as error:
        assert error.problems  # either outcome is right; a third kind of error is not
    else:
        assert config.project.name


def test_patterns() -> None:
    names = ["a.v", "b/a.v", "b/c/a.v", "b/c/d.sv", "b/[x].v"]
    assert match("*.v", names) == ["a.v"]
    assert match("**/*.v", names) == ["a.v", "b/[x].v", "b/a.v", "b/c/a.v"]
    assert match("b/**", names) == ["b/[x].v", "b/a.v", "b/c/a.v", "b/c/d.sv"]
    assert match("./b//c/?.[!s]*", names) == ["b/c/a.v"]
    assert match("b/[[]x].v", names) == ["b/[x].v"]
    assert match("b/**/a.v", names) == ["b/a.v", "b/c/a.v"]
    assert match("a?.v", ["ab.v", "a.v", "a/.v"]) == ["ab.v"]


def test_a_pattern_cannot_be_made_to_take_forever() -> None:
    began = time.process_time()
    assert match("**/" * 30 + "*a*a*a*a*a*a*a*a*a*a*b", ["a/" * 40 + "a" * 200] * 20) == []
    assert time.process_time() - began < 1.0


@settings(max_examples=200, deadline=None)
@example("[!]", "]")  # closed by nothing: plain characters
@example("[!]", "[!]")
@example("[!]]", "]")
@example("[!]]", "a")
@example("[b-a]", "b")
@example("[!b-a]", "b")
@given(st.text(alphabet="ab*?[]!-", min_size=1, max_size=8), st.text(alphabet="ab-]!", min_size=1, max_size=8))
def test_a_part_matches_as_python_s_fnmatch_has_it(pattern: str, name: str) -> None:
    # fnmatch takes `!` for a negation, too, where an empty range before it falls away: `[b-a!]`. We do not.
    assume("!" not in pattern.partition("-")[2])
    if "**" not in pattern:
        assert bool(match(pattern, [name])) == fnmatch.fnmatchcase(name, pattern)


def test_a_first_configuration_is_one_that_is_read(tmp_path: Path) -> None:
    sources = {
        "rtl/fifo.sv": "module fifo; // uses: nothing\n core u(); always_comb assert (1); endmodule",
        "rtl/core.sv": "module core; endmodule",
        "tb/test_fifo.py": "import cocotb",
    }
    text = starter("My fifo (2)", sources)
    found = load({**{name: body.encode() for name, body in sources.items()}, "lutlab.yaml": text.encode()})
    assert found.config.project.name == "My-fifo-2"
    assert found.top == "fifo"
    assert found.sources == ("rtl/core.sv", "rtl/fifo.sv")
    assert found.testbenches == ("tb/test_fifo.py",)
    assert stages_of(found.config) == (Stage.LINT, Stage.SIMULATION, Stage.FORMAL)


def test_overrides_of_a_command_line_have_types() -> None:
    assert override_of("a.b=50") == ("a.b", 50)
    assert override_of("a=[x, 1, true]") == ("a", ["x", 1, True])
    assert override_of("a=b=c") == ("a", "b=c")
    assert override_of("a=") == ("a", "")
    for wrong in ("a", "=1", "a={"):
        with pytest.raises(ConfigError):
            override_of(wrong)


def test_the_reference_in_the_docs_is_the_model_s() -> None:
    page = (Path(__file__).parents[3] / "docs" / "verification.md").read_text()
    assert update(page) == page, "run python -m lutlab_verify.config.reference docs/verification.md"
    for path in every_field():
        assert f"`{path[-1]}`" in page or f"### `{'.'.join(path)}" in page


def test_edit_distance() -> None:
    assert distance("simlation", "simulation") == 1
    assert distance("detph", "depth") == 1
    assert distance("", "abc") == 3
    assert distance("kitten", "sitting") == 3


@pytest.mark.parametrize(
    ("overrides", "stages", "field"),
    [
        ({"project.language_version": "vhdl2008"}, {Stage.LINT}, "project.language_version"),
        ({"project.language_version": "vhdl93"}, {Stage.FORMAL}, "project.language_version"),
        ({"project.language_version": "vhdl93"}, {Stage.LINT, Stage.SIMULATION}, "project.language_version"),
        ({"verification.simulation.tool": "ghdl"}, {Stage.SIMULATION}, "verification.simulation.tool"),
        ({"verification.formal.engines": ["abc pdr"]}, {Stage.FORMAL}, "verification.formal.engines.0"),
        ({"analysis.power": {}}, {Stage.SYNTHESIS}, "analysis.power"),
    ],
)
def test_what_nobody_here_can_do_is_refused_with_its_field(
    overrides: dict[str, object], stages: set[Stage], field: str
) -> None:
    config = project(overrides=overrides).config
    with pytest.raises(Unsupported) as caught:
        refuse_unsupported(config, stages, tools={"verilator", "icarus"})
    assert caught.value.field == field


@pytest.mark.parametrize("field", ["project.name", "design.sources", "analysis.timing.clock_period"])
def test_what_is_wrong_is_not_repeated_whole(field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        project(overrides={field: "9" * 60_000})
    assert len(str(caught.value)) < 700
    assert " ... " in str(caught.value)


def test_what_no_stage_asks_for_is_not_refused() -> None:
    config = project(overrides={"analysis.power": {}, "verification.formal.engines": ["aiger"]}).config
    refuse_unsupported(config, {Stage.LINT, Stage.SIMULATION}, tools={"verilator"})


def test_the_published_schema_accepts_what_is_read_and_refuses_what_is_not() -> None:
    import yaml  # noqa: PLC0415

    validator = jsonschema_rs.validator_for(schema())
    written = yaml.safe_load(GOOD)
    validator.validate(written)
    written["verification"]["simlation"] = {}
    assert not validator.is_valid(written)
