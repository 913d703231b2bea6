"""Start a simulator in a folder of its own that looks like the project's root.

usage: python -m lutlab_verify.inside.launch [--cwd FOLDER] [--python-path FOLDER]... [--hear FILE] -- PROGRAM ...

The folder gets a link to every entry of the project's root, so that `$readmemh("rom.hex")` finds what stands there and
what a test bench writes lands beside it. Variables of the call reach the program. With `--hear`, what it says that
decides a verdict is noted in that file (`hear`).
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from lutlab_verify.inside.hear import hear
from lutlab_verify.inside.places import SOURCES

LINKS_MAX = 10_000


def enter(folder: Path, sources: Path) -> None:
    """Make the folder, fill it with links, and go there."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, entry in enumerate(sorted(sources.iterdir())):
        link = folder / entry.name
        if index < LINKS_MAX and not (link.exists() or link.is_symlink()):
            _show(entry, link)
    os.chdir(folder)


def _show(entry: Path, place: Path) -> None:
    """A link to `entry`; a copy where no links can be made, since whoever reads the results would follow any."""
    try:
        place.symlink_to(os.path.relpath(entry, place.parent))
    except OSError:
        if entry.is_dir():
            shutil.copytree(entry, place)
        else:
            shutil.copyfile(entry, place)


def main(arguments: list[str]) -> None:
    """Does not return: this process becomes the program, or ends as the program did."""
    split = arguments.index("--")
    options, program = arguments[:split], arguments[split + 1 :]
    given: dict[str, list[str]] = {}
    for name, value in zip(options[::2], options[1::2], strict=True):
        given.setdefault(name, []).append(value)
    if "--python-path" in given:
        os.environ["PYTHONPATH"] = os.pathsep.join(str(Path(folder).absolute()) for folder in given["--python-path"])
    program[0] = str(Path(program[0]).absolute())
    if "--cwd" in given:
        enter(Path(given["--cwd"][0]), Path(SOURCES).absolute())
    if "--hear" in given:
        sys.exit(hear(program, Path(given["--hear"][0])))
    os.execv(program[0], program)  # noqa: S606 - no shell, and what we are for


if __name__ == "__main__":
    main(sys.argv[1:])
