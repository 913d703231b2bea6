"""`lutlab-board-agent`: serves the boards of this host."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nats.errors
import structlog
import uvloop
from pydantic import ValidationError

from lutlab_board_agent.adapters.door import SocketDoor
from lutlab_board_agent.adapters.loader_binary import LoaderBinary, find_loader
from lutlab_board_agent.adapters.openfpgaloader import OpenFpgaLoader
from lutlab_board_agent.adapters.serial_port import TtyPorts
from lutlab_board_agent.adapters.state_file import StateFiles, held
from lutlab_board_agent.agent import Agent
from lutlab_board_agent.domain.errors import AgentError, LabFileInvalid
from lutlab_board_agent.domain.lab import LabBoard, LoaderArgs, parse_lab, passing_names
from lutlab_board_agent.settings import AgentSettings
from lutlab_events import subjects
from lutlab_transport.clock import PatientClock, RandomIds, SystemClock
from lutlab_transport.commands import CommandClient
from lutlab_transport.connection import connect
from lutlab_transport.ending import stop_event, unless
from lutlab_transport.logging import setup_logging
from lutlab_transport.metrics import serve_metrics
from lutlab_transport.settings import explained, mistakes
from lutlab_transport.tracing import start_tracing, stop_tracing

log = structlog.get_logger(__name__)

FLUSH_TIMEOUT_S = 2
HELP = """\
Serves the FPGA boards of this host to a lutlab scheduler: programs them with
openFPGALoader and carries live Wishbone traffic over their serial lines.

A lab file:
  [[board]]
  key = "bench-0"
  kind = "real"
  profile = "ulx3s-25f"
  labels = ["bench"]
  [board.cable]
  kind = "openfpgaloader"
  args = ["--ftdi-serial", "D00084"]
  [board.serial]
  path = "/dev/serial/by-id/usb-FTDI_ULX3S-if00-port0"

A cable can also be a Xilinx Virtual Cable server: kind = "xvc-client",
host = "127.0.0.1", port = 3721.
docs/boards.md has the rest.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the agent until SIGTERM or SIGINT; its exit status."""
    parser = argparse.ArgumentParser(
        prog="lutlab-board-agent",
        description=HELP,
        epilog=explained(AgentSettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="check settings, lab file and openFPGALoader, then exit")
    arguments = parser.parse_args(argv)
    try:
        settings = AgentSettings()  # type: ignore[call-arg]  # lab_file comes from the environment
        boards = _read_lab(settings.lab_file)
        setup_logging("board-agent", level=settings.log_level)
        if arguments.check:
            with tempfile.TemporaryDirectory() as folder:  # the data folder may be a running agent's
                _loader(settings, boards, Path(folder))
            sys.stdout.write("".join(f"board {b.key}: {b.profile}, serial line {b.serial.path}\n" for b in boards))
            if passing := passing_names(boards):
                sys.stderr.write(f"lutlab-board-agent: {passing}\n")
            return 0
        if passing := passing_names(boards):
            log.warning("serial_name_passing", boards=passing)
        with held(settings.data_dir):
            binary = _loader(settings, boards, settings.data_dir / "loader-libraries")
            start_tracing("board-agent", settings.otlp_endpoint)
            uvloop.run(_serve(settings, boards, OpenFpgaLoader(binary, settings.data_dir / "loading")))
    except ValidationError as error:
        sys.stderr.write(f"lutlab-board-agent: {mistakes(AgentSettings, error)}\n")
        return 2
    except (AgentError, OSError) as error:
        sys.stderr.write(f"lutlab-board-agent: {error}\n")
        return 2
    finally:
        stop_tracing()
    return 0


def _read_lab(path: Path) -> tuple[LabBoard, ...]:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise LabFileInvalid(f"the lab file {path} cannot be read: {error}; set LUTLAB_AGENT_LAB_FILE") from error
    return parse_lab(text, name=str(path))


def _loader(settings: AgentSettings, boards: Sequence[LabBoard], libraries_dir: Path) -> LoaderBinary:
    binary = find_loader(settings.loader, libraries_dir)
    log.info("loader_found", path=str(binary.path), version=binary.version, usb=binary.usb)
    if not binary.usb and any(isinstance(board.cable, LoaderArgs) for board in boards):
        log.warning("loader_without_usb", hint="boards on USB cables cannot be programmed; see the loader's message")
    return binary


async def _serve(settings: AgentSettings, boards: Sequence[LabBoard], programmer: OpenFpgaLoader) -> None:
    stop = stop_event()
    agent: Agent | None = None

    def reconnected() -> None:
        if agent is not None:
            agent.reconnected()

    connecting = connect(
        settings.nats_url,
        name=f"board-agent {settings.id}",
        nkey_seed_file=settings.nats_nkey_file,
        token=settings.nats_token,
        inbox=subjects.inbox(subjects.agent_durable(settings.site, settings.id)),
        reconnected=reconnected,
    )
    nc = await unless(stop, connecting)
    if nc is None:
        return
    try:
        ids = RandomIds()
        agent = Agent(
            nc,
            boards,
            site=settings.site,
            agent_id=settings.id,
            incarnation=ids.new(),
            programmer=programmer,
            ports=TtyPorts(),
            memories=StateFiles(settings.data_dir / "boards"),
            commands=CommandClient(nc, site=settings.site, actor=f"agent:{settings.id}", clock=SystemClock(), ids=ids),
            clock=PatientClock(),
            ticks=time.monotonic,
            ids=ids,
            bridge_host=settings.bridge_host,
            door=SocketDoor(),
        )
        stop_metrics = serve_metrics(settings.metrics_port, agent.gauges)
        try:
            await agent.run(stop)
        finally:
            stop_metrics()
    finally:
        with contextlib.suppress(nats.errors.Error):
            await nc.flush(FLUSH_TIMEOUT_S)
        await nc.close()


if __name__ == "__main__":
    sys.exit(main())
