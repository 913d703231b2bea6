"""`make conformance-sdk`: the reference SDK's accelerators through the whole product, with its own unmodified clients.

The SAT solver by `mrg run` over both transports, and by its TCP client through `lutlab bridge`; the transformer layer,
which its client compares bit by bit with the golden integer model, by `mrg run` over both transports. All on the lab's
default board, whose chip has fewer multipliers than the layer wants.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "e2e"))
from e2e_support import BIN, Stack, eventually, release_all, reserve, running
from sdk_support import fetch_sdk, mrg, run_in_sdk

GOLDEN_SAT = {"4var_sat": "SAT", "1var_unsat": "UNSAT", "php32_unsat": "UNSAT", "6var_sat": "SAT"}
"""The answers to the formulas built into the example's TCP client, by truth tables."""


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fetch_sdk(tmp_path_factory.mktemp("sdk"), "numpy", "amaranth")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("accelerators")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    text = f'[[board]]\nkey = "desk"\nkind = "virtual"\nprofile = "lfe5u-25f"\nbridge_port = {port}\n'
    (folder / "lab.toml").write_text(text)
    with running(folder / "data", "--lab", str(folder / "lab.toml")) as stack:
        yield stack


@pytest.fixture(autouse=True)
def given_back(lab: Stack) -> Iterator[None]:
    """Whatever happened, the board is idle for the next test."""
    yield
    with lab.client() as api:
        release_all(api)


@pytest.mark.parametrize("transport", ["websocket", "http"])
def test_sat_solver(sdk: Path, lab: Stack, transport: str) -> None:
    url = lab.ready["api_url"]
    printed = mrg(sdk, lab, "run", "--api-url", url, "examples/sat_solver/client_sdk.py", transport=transport)
    x1, x2, x3 = (value == "True" for value in re.findall(r"'x\d': (True|False)", printed))
    assert re.findall(r"^(SAT|UNSAT)  \((\d+) cycles\)", printed, re.MULTILINE) == [("SAT", "3"), ("UNSAT", "2")]
    assert (x1 or x2) and (not x1 or x3)


def test_sat_solver_over_raw_tcp(sdk: Path, lab: Stack, tmp_path: Path) -> None:
    with lab.client() as api:
        board = reserve(api, sdk / "examples/sat_solver/design.py")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        said = tmp_path / "bridge.out"
        command = [BIN / "lutlab", "bridge", str(board), "--port", str(port), "--data-dir", lab.data_dir]
        with said.open("wb") as output, subprocess.Popen(command, stderr=output) as bridge:
            try:
                eventually("the local port", lambda: f":{port}" in said.read_text())
                client = ["python", "examples/sat_solver/client.py", "--host", "127.0.0.1", "--port", str(port)]
                printed = run_in_sdk(sdk, client, lab)
            finally:
                bridge.terminate()
    assert dict(re.findall(r"^\[(\w+)\].*\n  Result: (\w+)", printed, re.MULTILINE)) == GOLDEN_SAT


@pytest.mark.parametrize("transport", ["websocket", "http"])
def test_transformer_layer(sdk: Path, lab: Stack, transport: str) -> None:
    url = lab.ready["api_url"]
    printed = mrg(sdk, lab, "run", "--api-url", url, "examples/ffn_accel/client_sdk.py", transport=transport)
    assert "bit-exact against golden int8 model" in printed
    error = re.search(r"max relative error vs float FFN: ([\d.]+)", printed)
    assert error is not None
    assert float(error[1]) < 0.1
