"""A cheap look at an upload before it is stored; the builder looks again, and closer, while it unpacks."""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
from dataclasses import dataclass
from pathlib import PurePosixPath

from lutlab_api.domain.errors import Code, Invalid
from lutlab_events.designs import (
    FILE_NAME_CHARS_MAX,
    MANIFESTS,
    SOURCE_BYTES_MAX,
    SYS_CLK_HZ_MAX,
    SYS_CLK_HZ_MIN,
    TIMING_TARGET_MHZ_MAX,
    TOP,
    ZIP_BYTES_MAX,
    ZIP_EXPANDED_BYTES_MAX,
    ZIP_FILES_MAX,
    ZIP_NAME,
)
from lutlab_events.values import LABEL

SUFFIXES = (".py", ".v", ".sv", ".zip")
LABELS_MAX = 16
PRIORITY_MIN, PRIORITY_MAX = -10, 10
PROFILE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")

ZIP_DIRECTORY_BYTES_MAX = 128 * 1024
"""Room for 128 entries with long names; bounds the work of listing a hostile zip."""

_END = struct.Struct("<4s4H2LH")
_END_MAGIC = b"PK\x05\x06"
_ZIP64_LOCATOR_MAGIC = b"PK\x06\x07"
_ZIP64_LOCATOR_BYTES = 20
_COMMENT_BYTES_MAX = 0xFFFF


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A design file, and how to build it.

    Attributes:
        filename: its last path component.
        sys_clk_hz: the user domain's clock, None for the board's oscillator.
    """

    filename: str
    data: bytes
    top: str | None = None
    sys_clk_hz: int | None = None
    timing_target_mhz: float | None = None
    profile: str | None = None
    labels: tuple[str, ...] = ()
    priority: int = 0


def check_file(filename: str, data: bytes, bytes_max: int) -> str:
    """The file's plain name, if it can be a design.

    Raises:
        Invalid: `unsupported_suffix`, `empty_file`, `file_too_large` or `bad_zip`.
    """
    name = PurePosixPath(filename.replace("\\", "/")).name
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise Invalid(
            Code.UNSUPPORTED_SUFFIX,
            f"{name[:FILE_NAME_CHARS_MAX]!r}: send a .py (Amaranth), a .v or .sv (Verilog) or a project .zip",
        )
    if len(name) > FILE_NAME_CHARS_MAX:
        raise Invalid(
            Code.VALIDATION_ERROR, f"the file name has {len(name)} characters; use {FILE_NAME_CHARS_MAX} at most"
        )
    if not name.isprintable():
        raise Invalid(Code.VALIDATION_ERROR, f"the file name {name!r} holds characters that cannot be printed")
    if not data:
        raise Invalid(Code.EMPTY_FILE, f"{name!r} is empty")
    limit = min(bytes_max, ZIP_BYTES_MAX if suffix == ".zip" else SOURCE_BYTES_MAX)
    if len(data) > limit:
        raise Invalid(Code.FILE_TOO_LARGE, f"{name!r} has {len(data)} bytes; a {suffix} file may have {limit}")
    if suffix == ".zip":
        _check_zip(name, data)
    return name


def check_sys_clk(text: str | None) -> int | None:
    """The clock in Hz from its form field. Raises: Invalid `invalid_sys_clk_freq`."""
    if not text:
        return None
    value = _number(text)
    if value is None or not SYS_CLK_HZ_MIN <= value <= SYS_CLK_HZ_MAX:
        raise Invalid(
            Code.INVALID_SYS_CLK_FREQ,
            f"sys_clk_freq {text[:40]} must be a frequency in Hz from {SYS_CLK_HZ_MIN} to {SYS_CLK_HZ_MAX} "
            "(10 to 200 MHz); leave it out for the board's own clock",
        )
    return round(value)


def check_timing_target(text: str | None) -> float | None:
    """The timing target in MHz from its form field. Raises: Invalid `invalid_timing_target`."""
    if not text:
        return None
    value = _number(text)
    if value is None or not 0 < value <= TIMING_TARGET_MHZ_MAX:
        raise Invalid(
            Code.INVALID_TIMING_TARGET,
            f"timing_target_mhz {text[:40]} must be a number of MHz above 0, at most {TIMING_TARGET_MHZ_MAX:g}",
        )
    return value


def check_top(text: str | None) -> str | None:
    """The class or module to build. Raises: Invalid `invalid_top`."""
    if not text:
        return None
    if TOP.fullmatch(text) is None:
        raise Invalid(Code.INVALID_TOP, f"top {text[:140]!r} is not the name of a class or module")
    return text


def check_profile(text: str | None) -> str | None:
    """The device profile to build for; whether it exists is for the scheduler. Raises: Invalid `invalid_profile`."""
    if not text:
        return None
    if PROFILE.fullmatch(text) is None:
        raise Invalid(Code.INVALID_PROFILE, f"profile {text[:70]!r} is not the name of a device profile")
    return text


def check_labels(text: str | None) -> tuple[str, ...]:
    """Labels the board must have, separated by commas. Raises: Invalid `invalid_labels`."""
    labels = tuple(sorted({part.strip() for part in (text or "").split(",") if part.strip()}))
    if len(labels) > LABELS_MAX or any(LABEL.fullmatch(label) is None for label in labels):
        raise Invalid(
            Code.INVALID_LABELS,
            f"labels {(text or '')[:100]!r} must be at most {LABELS_MAX} words of letters, digits and _.:- "
            "separated by commas",
        )
    return labels


def check_priority(text: str | None, *, is_admin: bool) -> int:
    """The job's priority; only admins may go before others. Raises: Invalid `invalid_priority`."""
    if not text:
        return 0
    most = PRIORITY_MAX if is_admin else 0
    value = int(text) if re.fullmatch(r"-?\d{1,3}", text) else None
    if value is None or not PRIORITY_MIN <= value <= most:
        raise Invalid(
            Code.INVALID_PRIORITY, f"priority {text[:20]} must be a whole number from {PRIORITY_MIN} to {most}"
        )
    return value


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _check_zip(name: str, data: bytes) -> None:
    """Names, number and declared sizes, from the directory at the zip's end; nothing is unpacked."""
    _check_directory_size(name, data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, IndexError) as error:  # an empty name
        raise _bad_zip(f"{name!r} is not a readable zip: {error}") from error
    if len(entries) > ZIP_FILES_MAX:
        raise _bad_zip(f"{name!r} holds {len(entries)} files; a project may have {ZIP_FILES_MAX}")
    for entry in entries:
        if ZIP_NAME.fullmatch(entry.filename) is None or any(p in ("", ".", "..") for p in entry.filename.split("/")):
            raise _bad_zip(
                f"{entry.filename[:FILE_NAME_CHARS_MAX]!r}: names in a project are relative, without `..`, and made of "
                "letters, digits and _./-"
            )
    expanded = sum(entry.file_size for entry in entries)
    if expanded > ZIP_EXPANDED_BYTES_MAX:
        raise _bad_zip(f"{name!r} expands to {expanded} bytes; a project may have {ZIP_EXPANDED_BYTES_MAX} (16 MiB)")
    if not any(entry.filename in MANIFESTS for entry in entries):
        raise _bad_zip(f"{name!r} has no {MANIFESTS[0]} (or {MANIFESTS[1]}) at its top")


def zip_directory_bytes(data: bytes) -> int | None:
    """How many bytes the directory at a zip's end has, before anything of it is read; None for a zip of more than
    4 GiB by its own account. Raises: ValueError: it is no zip."""
    at = data.rfind(_END_MAGIC, max(0, len(data) - _END.size - _COMMENT_BYTES_MAX))
    if at < 0 or at + _END.size > len(data):
        raise ValueError("it is not a zip, or its end is missing")
    is_zip64 = data[max(0, at - _ZIP64_LOCATOR_BYTES) : at].startswith(_ZIP64_LOCATOR_MAGIC)
    return None if is_zip64 else int(_END.unpack_from(data, at)[5])


def _check_directory_size(name: str, data: bytes) -> None:
    try:
        directory_bytes = zip_directory_bytes(data)
    except ValueError:
        raise _bad_zip(f"{name!r} is not a zip, or its end is missing") from None
    if directory_bytes is None or directory_bytes > ZIP_DIRECTORY_BYTES_MAX:
        raise _bad_zip(f"{name!r} lists more files than a project may have ({ZIP_FILES_MAX})")


def _bad_zip(message: str) -> Invalid:
    return Invalid(Code.BAD_ZIP, message)
