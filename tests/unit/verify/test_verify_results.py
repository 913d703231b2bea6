"""What a simulation's own code wrote about its tests is read with care."""

from __future__ import annotations

import pytest

from lutlab_verify.share import percent
from lutlab_verify.simulation.coverage import Coverage, fsm_states
from lutlab_verify.simulation.results import from_cocotb

LAUGHS = """<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE t [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>
<testsuites><testsuite><testcase name="&b;" classname="t"/></testsuite></testsuites>"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
def test_entities_are_refused_in_whatever_encoding(encoding: str) -> None:
    with pytest.raises(ValueError, match=r"document type|codec"):
        from_cocotb(LAUGHS.replace("UTF-16", encoding).encode(encoding), 1, "t.py")


def test_results_are_read() -> None:
    xml = b'<?xml version="1.0" encoding="UTF-8"?><testsuites><testcase name="a" classname="t"/></testsuites>'
    assert [test.name for test in from_cocotb(xml, 1, "t.py")] == ["t.a"]


def test_states_on_one_line_are_added_up() -> None:
    states = [{"name": name, "value": value, "file": "t.sv", "line": 3} for value, name in enumerate("ABC")]
    register = {"module": "t", "register": "state", "file": "t.sv", "line": 4, "states": states}
    coverage = Coverage(states=fsm_states([register], [{"entries": {"A": 2, "B": 5}, "transitions": {}}]))
    line = coverage.per_line(["fsm"])["t.sv"]["3"]
    assert (line["kind"], line["hits"], coverage.percentages(["fsm"])) == ("fsm", 7, {"fsm": 66.7})


def test_a_share_is_whole_only_if_nothing_is_missing() -> None:
    assert [percent(*one) for one in ((0, 0), (0, 9), (9, 9), (1, 3))] == [None, 0.0, 100.0, 33.3]
    assert (percent(9_999, 10_000), percent(1, 10_000)) == (99.9, 0.1)
