"""What a design may be, as the board API's contract has it (section 2).

The API looks at an upload before it is stored, and the builder, which trusts no message, looks again and closer: both
by these limits, so that nothing is accepted only to fail.
"""

from __future__ import annotations

import re

SYS_CLK_HZ_MIN = 10_000_000
SYS_CLK_HZ_MAX = 200_000_000
TIMING_TARGET_MHZ_MAX = 1000.0
TOP = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,127}")
"""A class or module to build."""

FILE_NAME_CHARS_MAX = 200
SOURCE_BYTES_MAX = 8 << 20
"""Of a design in one file."""
ZIP_BYTES_MAX = 8 << 20
ZIP_FILES_MAX = 128
ZIP_EXPANDED_BYTES_MAX = 16 << 20
ZIP_NAME = re.compile(r"[A-Za-z0-9_./-]+")
"""A name within a project's zip."""
MANIFESTS = ("mrg-project.json", "lutlab-project.json")
"""Names of the file that makes a zip a project; it stands at the top."""

BUILD_STAGES = ("elaborate", "synthesize", "place-and-route", "pack")
"""What a build goes through, in order, as reports, events and log lines name it."""
