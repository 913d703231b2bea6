"""The event loop: a JTAG cable on a socket, a serial line on a pseudo terminal, and the chip between them."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from pathlib import Path

import structlog

from lutlab_profiles import DeviceProfile
from lutlab_virtual_board.chip import Chip
from lutlab_virtual_board.control import Control
from lutlab_virtual_board.desk import Desk
from lutlab_virtual_board.fabric import Fabric
from lutlab_virtual_board.faults import Faults, Line
from lutlab_virtual_board.jtag import Tap
from lutlab_virtual_board.line import READ_BYTES_MAX, SerialLine
from lutlab_virtual_board.pace import Pace
from lutlab_virtual_board.xvc import XvcError, XvcSession

_log = structlog.get_logger("lutlab_virtual_board")

_RECEIVE_BYTES = 1 << 16
SEND_TIMEOUT_S = 10.0
"""A JTAG client that does not take its answers for this long is cut off."""

UNSENT_BYTES_MAX = 1 << 16
"""Answers kept for a terminal user who does not read; what comes after is lost, as on a real line."""


class Board:
    """A board that is powered on.

    Args:
        profile: its model.
        cache: folder for the chip database and compiled designs.
        tty_link: symbolic link to its terminal, or None.
        host: address of the JTAG socket.
        port: port of it; 0 for any.
        compiler: see `Chip`.
        control: path of the socket where pins are seen and faults chosen (see `control`), or None.
    """

    def __init__(
        self,
        profile: DeviceProfile,
        cache: Path,
        *,
        tty_link: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        compiler: str = "auto",
        control: Path | None = None,
    ) -> None:
        self.chip = Chip(profile, cache, compiler)
        self._tap = Tap(profile.idcode, self.chip)
        self.faults = Faults()
        self._to_design, self._to_host = Line(self.faults), Line(self.faults)
        self._listener = socket.create_server((host, port), backlog=4)
        self._listener.setblocking(False)
        self.xvc_port: int = self._listener.getsockname()[1]
        self._line = SerialLine(tty_link)
        self.tty = self._line.name
        self._pace = Pace()
        self._client: socket.socket | None = None
        self._session: XvcSession | None = None
        self._running_design = self.chip.fabric
        self._watched_job = -1
        self._unsent = bytearray()
        self._stop = False
        self._wake_receive, self._wake_send = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        for source in (self._listener, self._line.descriptor, self._wake_receive):
            self._selector.register(source, selectors.EVENT_READ)
        self._control = Control(control, Desk(self, profile).answer) if control else None
        if self._control:
            self._selector.register(self._control.listener, selectors.EVENT_READ)

    def stop(self) -> None:
        """Ask `run` to return; may be called from a signal handler or another thread."""
        self._stop = True
        with contextlib.suppress(OSError):
            self._wake_send.send(b"\0")

    def run(self) -> None:
        """Be a board until `stop` is called."""
        while not self._stop:
            self._watch_job()
            is_busy = self._control is not None and self._control.is_busy
            for key, _ in self._selector.select(0.0 if is_busy else self._wait_s()):
                self._handle(key.fileobj)
            if self._control is not None and self._control.is_busy:
                self._control.step()
            else:
                self._run_design()

    def close(self) -> None:
        """Power off."""
        if self._control:
            self._control.close()
        if self._client:
            self._drop_client()
        self._selector.close()
        self._listener.close()
        self._wake_receive.close()
        self._wake_send.close()
        self._line.close()
        self.chip.close()

    def _handle(self, source: object) -> None:
        if source is self._listener:
            self._accept()
        elif source is self._client:
            self._serve_client()
        elif source == self._watched_job:
            self._unwatch_job()
            self.chip.finish_job()
            self._running_design = self.chip.fabric
        elif self._control and source is self._control.listener:
            client = self._control.accept()
            if client:
                self._selector.register(client, selectors.EVENT_READ)
        elif self._control and isinstance(source, socket.socket) and self._control.is_client(source):
            if not self._serve_control(source):
                return
        elif source is self._wake_receive:
            self._wake_receive.recv(16)

    def _serve_control(self, client: socket.socket) -> bool:
        """Answer a client at the side door; False when it has gone."""
        assert self._control is not None
        # A client that leaves is closed, and must be forgotten before.
        self._selector.unregister(client)
        if not self._control.serve(client):
            return False
        self._selector.register(client, selectors.EVENT_READ)
        return True

    def set_faults(self, faults: Faults) -> None:
        """Have these faults from now on, and no others."""
        self.faults = faults
        self._tap.stuck = faults.jtag_stuck
        self.chip.slow_s = faults.slow_s
        self._to_design, self._to_host = Line(faults), Line(faults)

    def lose_power(self, after_bytes: int | None = None) -> None:
        """Forget the design, and drop whoever is programming; the board comes back at once, erased.

        Args:
            after_bytes: when: after so many more bytes of a bitstream; now if not given.
        """
        self._tap.power_bytes = after_bytes
        if after_bytes is not None:
            return
        if self._client:
            self._drop_client()
        self._tap.disconnect()
        self.chip.erase()

    def woken(self) -> None:
        """Something outside the design's pins has changed: it runs freely for a moment."""
        self._pace.host_sent(time.monotonic())

    # -- JTAG -------------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        client, address = self._listener.accept()
        if self._client:
            _log.warning("jtag_client_refused", client=address[0], reason="another client holds the cable")
            client.close()
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(SEND_TIMEOUT_S)
        self._client, self._session = client, XvcSession(self._tap)
        self._selector.register(client, selectors.EVENT_READ)
        _log.info("jtag_client_connected", client=address[0])

    def _serve_client(self) -> None:
        assert self._client is not None and self._session is not None
        try:
            data = self._client.recv(_RECEIVE_BYTES)
            if data:
                answer = self._session.feed(data)
                if self._tap.power_bytes is not None and self._tap.power_bytes <= 0:
                    self.lose_power()
                    return
                self._client.sendall(answer)
                return
        except XvcError as error:
            _log.warning("jtag_client_cut_off", code=error.code, reason=str(error))
        except OSError as error:
            _log.warning("jtag_client_lost", reason=str(error))
        self._drop_client()

    def _drop_client(self) -> None:
        assert self._client is not None
        self._selector.unregister(self._client)
        self._client.close()
        self._client = self._session = None
        self._tap.disconnect()
        _log.info("jtag_client_left")

    def _watch_job(self) -> None:
        """Listen for the end of a compilation that has begun, and forget one that was given up."""
        descriptor = self.chip.job.descriptor if self.chip.job else -1
        if descriptor != self._watched_job:
            self._unwatch_job()
            if descriptor >= 0:
                self._selector.register(descriptor, selectors.EVENT_READ)
                self._watched_job = descriptor

    def _unwatch_job(self) -> None:
        if self._watched_job >= 0:
            with contextlib.suppress(KeyError, OSError, ValueError):
                self._selector.unregister(self._watched_job)
            self._watched_job = -1

    # -- the design -------------------------------------------------------------------------------------------------

    def _wait_s(self) -> float | None:
        fabric = self.chip.fabric
        if fabric is None:
            return None
        return self._pace.wait_s(time.monotonic(), fabric.quiet, fabric.host_pending > 0)

    def _run_design(self) -> None:
        fabric = self.chip.fabric
        if fabric is not self._running_design:
            # A design has just started: what the user sent before went into the void.
            self._running_design = fabric
            self._line.discard()
            self._unsent.clear()
            self._pace.host_sent(time.monotonic())
        if fabric is None:
            self._line.discard()
            return
        data = self._take(fabric)
        began_s = time.monotonic()
        if self._pace.wait_s(began_s, fabric.quiet and not data, fabric.host_pending > 0) == 0.0:
            cycles = fabric.run(self._pace.slice_cycles)
            self._pace.ran(began_s, time.monotonic(), cycles)
            self.chip.check()
            if self.chip.fabric is None:
                return
        self._answer(fabric.pull())

    def _take(self, fabric: Fabric) -> bool:
        """Queue what the terminal's user has sent; whether that was anything."""
        data = self._line.read(min(fabric.host_room, READ_BYTES_MAX)) if fabric.host_room else b""
        if data:
            fabric.set_baud(self._line.baud())
            fabric.push(self._to_design.pass_on(data))
            self._pace.host_sent(time.monotonic())
        return bool(data)

    def pump(self) -> None:
        """Move the bytes between the running design and the terminal's user, without running it."""
        if self.chip.fabric is not None:
            self._take(self.chip.fabric)
            self._answer(self.chip.fabric.pull())

    def _answer(self, data: bytes) -> None:
        """Hand bytes of the design to the terminal's user."""
        if data:
            self._pace.design_sent(time.monotonic())
            self._unsent += self._to_host.pass_on(data)[: UNSENT_BYTES_MAX - len(self._unsent)]
        if self._unsent:
            del self._unsent[: self._line.write(bytes(self._unsent))]
