"""The unmodified public SDK and its bundled examples, from PyPI, in an environment of their own."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from e2e_support import Stack
from sdk_support import mrg

EXAMPLES = {
    "examples/hello_wishbone/client_sdk.py": "OK (last word won)",
    "examples/verilog_hello/client_sdk.py": "OK",
    "examples/app.py": "3*4 + 3*5 = 27",
    "examples/multi_file/client.py": "Multi-file design returned the expected value",
}


@pytest.mark.parametrize("transport", ["websocket", "http"])
@pytest.mark.parametrize("example", EXAMPLES)
def test_bundled_example(sdk: Path, stack: Stack, api: httpx.Client, example: str, transport: str) -> None:
    printed = mrg(sdk, stack, "run", "--api-url", stack.ready["api_url"], example, transport=transport)
    assert EXAMPLES[example] in printed
    assert "MISMATCH" not in printed


def test_the_sat_solver_finds_what_is_true(sdk: Path, stack: Stack, api: httpx.Client) -> None:
    """The example prints two answers; the first one's model must satisfy its formula, (x1 or x2) and (not x1 or x3)."""
    printed = mrg(sdk, stack, "run", "--api-url", stack.ready["api_url"], "examples/sat_solver/client_sdk.py")
    first, second = re.findall(r"^(SAT|UNSAT)  \((\d+) cycles\)", printed, re.MULTILINE)
    x1, x2, x3 = (value == "True" for value in re.findall(r"'x\d': (True|False)", printed))
    assert first == ("SAT", "3")
    assert (x1 or x2) and (not x1 or x3)
    assert second == ("UNSAT", "2")


def test_status_and_job_listing(sdk: Path, stack: Stack, api: httpx.Client) -> None:
    url = stack.ready["api_url"]
    assert "idle" in mrg(sdk, stack, "status", "--api-url", url)
    mrg(sdk, stack, "jobs", "--api-url", url)
