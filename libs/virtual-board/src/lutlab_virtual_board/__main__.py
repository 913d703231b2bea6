"""`lutlab-virtual-board`: a board made of software, for hosts without one.

It is programmed over JTAG by openFPGALoader (`-c xvc-client`), executes the bitstream it is given, and has a serial
line as a pseudo terminal.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

import msgspec
import structlog

import lutlab_profiles
from lutlab_virtual_board.board import Board
from lutlab_virtual_board.errors import VirtualBoardError
from lutlab_virtual_board.files import write_atomically

_log = structlog.get_logger("lutlab_virtual_board")


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "lutlab" / "virtual-board"


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="lutlab-virtual-board",
        description=__doc__,
        epilog="Program it: openFPGALoader -c xvc-client --ip 127.0.0.1 --port PORT design.bit",
    )
    parser.add_argument("--profile", default=lutlab_profiles.DEFAULT_PROFILE, help="board model (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address of the JTAG socket (default: %(default)s)")
    parser.add_argument("--xvc-port", type=int, default=0, help="port of the JTAG socket; 0 takes a free one")
    parser.add_argument("--tty-link", type=Path, help="symbolic link to keep to the terminal of the serial line")
    parser.add_argument("--ready-file", type=Path, help="JSON file with xvc_port, tty and pid, written once listening")
    parser.add_argument("--control", type=Path, help="Unix socket where pins are seen and set, and faults chosen")
    parser.add_argument("--compiler", choices=("auto", "gcc", "tcc"), default="auto", help="C compiler for designs")
    parser.add_argument("--cache-dir", type=Path, default=None, help="folder for compiled designs")
    return parser.parse_args(argv)


def _configure_logging() -> None:
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )


def main(argv: list[str] | None = None) -> int:
    """Run a board until SIGTERM or SIGINT.

    Returns:
        0 after a signal, 2 if the board cannot be set up.
    """
    arguments = _arguments(argv)
    _configure_logging()
    try:
        profile = lutlab_profiles.get(arguments.profile)
        board = Board(
            profile,
            arguments.cache_dir or _default_cache(),
            tty_link=arguments.tty_link,
            host=arguments.host,
            port=arguments.xvc_port,
            compiler=arguments.compiler,
            control=arguments.control,
        )
    except (lutlab_profiles.UnknownProfile, VirtualBoardError, OSError) as error:
        _log.error("board_not_started", reason=str(error))
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: board.stop())
    ready = {"xvc_port": board.xvc_port, "tty": board.tty, "pid": os.getpid()}
    try:
        if arguments.ready_file:
            write_atomically(arguments.ready_file, msgspec.json.encode(ready), mode=0o644)
        _log.info("board_ready", profile=profile.name, **ready)
        board.run()
    finally:
        board.close()
        if arguments.ready_file:
            arguments.ready_file.unlink(missing_ok=True)
        _log.info("board_stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
