"""`make tools`: get what no wheel has (Icarus Verilog, lz4's headers) from the distribution's packages, without root.

Packages are downloaded by apt, which checks their signatures, and unpacked into `catalogue.tools_folder()`. What is
already there, or installed in the system, is left alone. Verilator's runtime library is compiled there too, which
saves the first simulation of every project half a minute.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lutlab_verify.catalogue import installed, lz4_folder, tools_folder
from lutlab_verify.inside import build_simulator
from lutlab_verify.simulation import runtime

APT_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Wanted:
    """Something to have: its Debian package, what it is for, and whether it is here."""

    package: str
    purpose: str
    present: Callable[[], bool]
    works: tuple[str, ...] = ()


WANTED = (
    Wanted(
        "iverilog",
        "Icarus Verilog, for simulation",
        lambda: installed("iverilog") and installed("vvp"),
        ("usr/bin/vvp", "-V"),
    ),
    Wanted("liblz4-dev", "lz4's headers, for FST traces from Verilator", lambda: lz4_folder() is not None),
)


class GetToolsError(Exception):
    """A tool could not be had; the message says why and what to do instead."""


def get(wanted: Wanted, folder: Path) -> None:
    """Download a package and unpack it into `folder`. Raises: GetToolsError."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise GetToolsError(
            f"{wanted.package} ({wanted.purpose}) is not installed, and this machine has no apt to get it with: "
            "install it with this system's package manager so that it is on PATH"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lutlab-tools-", dir=folder) as scratch:
        package = _download(wanted.package, Path(scratch))
        _check(_run(["dpkg-deb", "--extract", str(package), str(folder)], Path(scratch)), "unpack", wanted.package)
    if wanted.works:
        program = folder / wanted.works[0]
        _check(_run([str(program), *wanted.works[1:]], folder), "start", wanted.package)


def _download(package: str, scratch: Path) -> Path:
    """The package's file in `scratch`; with package lists of our own where the system has none."""
    done = _run(["apt-get", "download", package], scratch)
    if done.returncode:
        options = []
        for name in ("Dir::State", "Dir::Cache"):
            place = scratch / name.rpartition("::")[2]
            (place / "lists" / "partial").mkdir(parents=True)
            (place / "archives" / "partial").mkdir(parents=True)
            options += ["-o", f"{name}={place}"]
        options += ["-o", "Dir::State::status=/var/lib/dpkg/status", "-o", "APT::Sandbox::User="]
        _check(_run(["apt-get", *options, "update"], scratch), "read the package lists for", package)
        _check(_run(["apt-get", *options, "download", package], scratch), "download", package)
    return next(scratch.glob("*.deb"))


def _run(argv: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv, cwd=folder, capture_output=True, text=True, errors="replace", timeout=APT_TIMEOUT_S, check=False,
            stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(argv, 127, "", str(error))


def _check(done: subprocess.CompletedProcess[str], verb: str, package: str) -> None:
    if done.returncode:
        words = " / ".join((done.stderr or done.stdout).strip().splitlines()[-4:])
        raise GetToolsError(f"cannot {verb} {package} (`{' '.join(done.args)}`): {words}")


def compile_runtime(folder: Path) -> None:
    """Compile Verilator's runtime, so that no project has to. Raises: GetToolsError."""
    if runtime.prebuilt() is not None or not (installed("verilator") and installed("g++")):
        return
    place = folder / f"verilator-{runtime.key()}"
    with tempfile.TemporaryDirectory(prefix="lutlab-tools-", dir=folder) as scratch:
        archive = Path(scratch) / runtime.ARCHIVE
        if build_simulator.main(runtime.build_job(str(archive))):
            raise GetToolsError("Verilator's runtime does not compile; see above")
        place.mkdir(exist_ok=True)
        archive.replace(place / runtime.ARCHIVE)
    print(f"Verilator's runtime: compiled into {place}")


def main() -> int:
    """Get what is missing; 1 if something cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m lutlab_verify.get_tools", description=__doc__)
    parser.add_argument("--folder", type=Path, default=tools_folder(), help="where to unpack (%(default)s)")
    folder = parser.parse_args().folder.absolute()
    failures = 0
    for wanted in WANTED:
        if wanted.present():
            continue
        try:
            get(wanted, folder)
        except GetToolsError as error:
            failures += 1
            print(error, file=sys.stderr)
        else:
            print(f"{wanted.package}: unpacked into {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        compile_runtime(folder)
    except GetToolsError as error:
        failures += 1
        print(error, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
