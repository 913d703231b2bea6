"""LEDs, buttons, switches and recordings of a design built by the product, through the public API and the command."""

from __future__ import annotations

import io
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from e2e_support import BIN, ROOT, Stack, reserve
from vcd.reader import TokenKind, tokenize

from lutlab import Client

PANEL = ROOT / "examples/panel/design.v"
PRESSES, SWITCHES, COUNT = 0, 4, 8
PERIOD_PS = 20_000
CYCLES = 300


def waves(text: str) -> dict[str, dict[int, int]]:
    """What an independent reader finds in a VCD: each signal's value after each change, by cycle."""
    names: dict[str, str] = {}
    found: dict[str, dict[int, int]] = {}
    now = 0
    for token in tokenize(io.BytesIO(text.encode())):
        if token.kind is TokenKind.VAR:
            names[token.var.id_code] = token.var.reference
            found[token.var.reference] = {}
        elif token.kind is TokenKind.CHANGE_TIME:
            now = token.time_change
        elif token.kind is TokenKind.CHANGE_SCALAR:
            found[names[token.scalar_change.id_code]][now // PERIOD_PS] = int(token.scalar_change.value)
        elif token.kind is TokenKind.CHANGE_VECTOR:
            value = token.vector_change.value
            found[names[token.vector_change.id_code]][now // PERIOD_PS] = int(value)
    assert now == CYCLES * PERIOD_PS
    return found


@pytest.fixture
def lab(stack: Stack, api: httpx.Client):
    with Client(stack.ready["api_url"], stack.ready["api_key"]) as lab:
        yield lab


def test_pins_and_recordings(stack: Stack, api: httpx.Client, lab: Client, tmp_path: Path) -> None:
    board = reserve(api, PANEL)

    def levels() -> dict[str, int]:
        return {pin.name: pin.level for pin in lab.pins(board)}

    # A button changes what the design does, and the LEDs show it.
    at_first = levels()
    assert [at_first[f"led{i}"] for i in range(4)] == [0, 0, 0, 0]
    for _ in range(3):
        lab.set_pins(board, {"button0": 1})
        assert lab.read(board, PRESSES)
        lab.set_pins(board, {"button0": 0})
        lab.read(board, PRESSES)
    assert lab.read(board, PRESSES) == [3]
    assert [levels()[f"led{i}"] for i in range(4)] == [1, 1, 0, 0]

    # The counter stands until its switch is on.
    assert lab.read(board, COUNT) == lab.read(board, COUNT) == [0]
    lab.set_pins(board, {"switch0": 1, "switch2": 1})
    assert lab.read(board, SWITCHES) == [0b0101]
    assert lab.read(board, COUNT) != lab.read(board, COUNT)

    # The design's own names, a trigger on a number, and true values in every cycle.
    widths = {signal.name: signal.bits for signal in lab.signals(board)}
    assert (widths["presses"], widths["count"], widths["was_pressed"]) == (8, 16, 1)
    with ThreadPoolExecutor(1) as pool:
        names = ("presses", "count", "led2", "was_pressed")
        recording = pool.submit(lab.capture, board, CYCLES, names, trigger=("presses", 4), wait_s=20)
        while not recording.done():
            lab.set_pins(board, {"button0": 1})
            lab.set_pins(board, {"button0": 0})
        found = waves(recording.result())
    assert found["presses"][0] == 4
    assert found["led2"][0] == 1
    counts = found["count"]
    assert sorted(counts) == list(range(CYCLES))
    assert all((counts[cycle] - counts[0]) % (1 << 16) == cycle for cycle in range(CYCLES))

    # The same at a terminal.
    def command(*arguments: str) -> str:
        words = [BIN / "lutlab", *arguments, "--data-dir", str(stack.data_dir)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout if done.returncode == 0 else done.stderr

    assert ["switch0", "E8", "in", "0"] in [
        row.split() for row in command("pins", str(board), "switch0=0").splitlines()
    ]
    assert ["count", "16"] in [row.split() for row in command("signals", str(board)).splitlines()]
    file = tmp_path / "counter.vcd"
    command("capture", str(board), "count", "--cycles", str(CYCLES), "-o", str(file))
    assert list(waves(file.read_text())["count"]) == [0]
    assert "'led0' is no input" in command("pins", str(board), "led0=1")


def test_what_cannot_be_is_said(stack: Stack, api: httpx.Client, lab: Client) -> None:
    board = reserve(api, PANEL)
    url = f"/fpga/{board}"

    def refusal(answer: httpx.Response) -> tuple[int, str]:
        return answer.status_code, answer.text

    for pin in ("Z99", "led0", "tx", "rx"):
        status, words = refusal(api.put(f"{url}/pins", json={"pins": {pin: 1}}))
        assert status == 409 and f"'{pin}' is no input of this design" in words, words
    for body, wanted, said in (
        ({"cycles": 10, "signals": ["cuont"]}, 409, "no signal 'cuont'; near to it are count"),
        ({"cycles": 100_001}, 422, "less than or equal to 100000"),
        ({"cycles": 10, "trigger": {"signal": "count", "level": 65536}}, 409, "count has 16 bits, and never is 65536"),
        ({"cycles": 10, "trigger": {"signal": "presses", "level": 9}, "wait_s": 0.2}, 409, "did not come to 9 within"),
    ):
        status, words = refusal(api.post(f"{url}/capture", json=body))
        assert (status, said in words) == (wanted, True), words
    with stack.client(None) as nobody, stack.member("stranger") as stranger:
        assert nobody.put(f"{url}/pins", json={"pins": {"button0": 1}}).status_code == 401
        assert stranger.put(f"{url}/pins", json={"pins": {"button0": 1}}).status_code == 403
        assert stranger.post(f"{url}/capture", json={"cycles": 1}).status_code == 403
    idle = 1 - board
    assert refusal(api.put(f"/fpga/{idle}/pins", json={"pins": {"button0": 1}}))[0] == 409
    assert api.get("/fpga/99/pins").status_code == 404
