"""What an upload may hold: one design file, or a project zip with a manifest.

Rules are those of the board API contract, section 2, checked again here because a builder trusts no message.
Nothing is written anywhere: an upload becomes a `Bundle` of small files in memory or a `BuildFailure`.
"""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

import msgspec

from lutlab_builder.domain.errors import BuildFailure, Code
from lutlab_events.designs import (
    FILE_NAME_CHARS_MAX,
    MANIFESTS,
    SOURCE_BYTES_MAX,
    ZIP_BYTES_MAX,
    ZIP_EXPANDED_BYTES_MAX,
    ZIP_FILES_MAX,
    ZIP_NAME,
)

MANIFEST_BYTES_MAX = 4 << 10
VERILOG_SUFFIXES = frozenset({".v", ".sv"})
SUFFIXES = frozenset({".py", ".v", ".vh", ".sv", ".svh", ".mem", ".hex"})
_READ_BYTES = 64 << 10


class Language(StrEnum):
    """What the entrypoint is written in; `base` is the product's own base design, which has no source."""

    AMARANTH = "amaranth"
    VERILOG = "verilog"
    BASE = "base"


@dataclass(frozen=True)
class SourceFile:
    """One file of a bundle; `path` is relative, with forward slashes."""

    path: str
    data: bytes


@dataclass(frozen=True)
class Bundle:
    """The files of a design and which of them the tools read first.

    Attributes:
        language: the entrypoint's language.
        entrypoint: path of the file that holds (or starts) the design; empty for the base design.
        files: every file, sorted by path.
        verilog_sources: further Verilog compilation units, in the order to read them.
    """

    language: Language
    entrypoint: str
    files: tuple[SourceFile, ...]
    verilog_sources: tuple[str, ...] = ()

    @property
    def folders(self) -> tuple[str, ...]:
        """Every folder that holds a file, `.` first: where `include may find one."""
        parents = {str(PurePosixPath(file.path).parent) for file in self.files}
        return tuple(sorted(parents | {"."}))


BASE_BUNDLE = Bundle(Language.BASE, "", ())


class _Manifest(msgspec.Struct):
    version: int
    entrypoint: str
    verilog_sources: list[str] = []


def read_upload(filename: str, data: bytes) -> Bundle:
    """The bundle that an uploaded file holds.

    Args:
        filename: its name; the suffix `.py`, `.v`, `.sv` or `.zip` selects the form, folders are dropped.
        data: its bytes.

    Raises:
        BuildFailure: the upload breaks a rule; the message names the rule and the offending value.
    """
    name = PurePosixPath(filename.replace("\\", "/")).name
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in {".py", ".zip"} | VERILOG_SUFFIXES:
        raise BuildFailure(
            Code.UNSUPPORTED_SUFFIX, f"{name!r}: upload a .py (Amaranth), a .v or .sv (Verilog), or a project .zip"
        )
    if not data:
        raise BuildFailure(Code.EMPTY_FILE, f"{name!r} is empty")
    return _read_zip(name, data) if suffix == ".zip" else _read_single(name, suffix, data)


def _read_single(name: str, suffix: str, data: bytes) -> Bundle:
    if len(data) > SOURCE_BYTES_MAX:
        raise BuildFailure(
            Code.SOURCE_TOO_LARGE, f"{name!r} has {len(data)} bytes; a design file may have {SOURCE_BYTES_MAX}"
        )
    path = name if _is_plain(name) else f"design{suffix}"
    _require_text(path, data)
    return Bundle(_language(path), path, (SourceFile(path, data),))


def _is_plain(name: str) -> bool:
    return ZIP_NAME.fullmatch(name) is not None and len(name) <= FILE_NAME_CHARS_MAX and not name.startswith((".", "-"))


def _require_text(path: str, data: bytes) -> None:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BuildFailure(Code.NOT_TEXT, f"{path} is not UTF-8 text: byte {error.start} is invalid") from None
    if "\0" in text:
        raise BuildFailure(Code.NOT_TEXT, f"{path} is not text: it holds a NUL byte at {text.index(chr(0))}")
    if not text.strip():
        raise BuildFailure(Code.EMPTY_FILE, f"{path} holds nothing but white space")


def _language(path: str) -> Language:
    return Language.AMARANTH if path.endswith(".py") else Language.VERILOG


def _read_zip(name: str, data: bytes) -> Bundle:
    if len(data) > ZIP_BYTES_MAX:
        raise BuildFailure(Code.ZIP_TOO_LARGE, f"{name!r} has {len(data)} bytes; a zip may have {ZIP_BYTES_MAX}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = _inflate_all(archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError) as error:
        raise BuildFailure(Code.BAD_ZIP, f"{name!r} is not a readable zip: {error}") from error
    return _assemble(files)


def _inflate_all(archive: zipfile.ZipFile) -> dict[str, bytes]:
    entries = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
    if len(entries) > ZIP_FILES_MAX:
        raise BuildFailure(
            Code.ZIP_TOO_MANY_FILES, f"the zip holds {len(entries)} files; a project may have {ZIP_FILES_MAX}"
        )
    _check_names([entry.filename for entry in entries])
    files: dict[str, bytes] = {}
    left = ZIP_EXPANDED_BYTES_MAX
    for entry in entries:
        _check_entry(entry)
        limit = min(left, MANIFEST_BYTES_MAX) if entry.filename in MANIFESTS else left
        files[entry.filename] = _inflate(archive, entry, limit)
        left -= len(files[entry.filename])
    return files


def _check_names(names: list[str]) -> None:
    """Every name is plain, relative, of an allowed suffix, and no two are the same file on any file system."""
    seen: dict[str, str] = {}
    for name in names:
        parts = name.split("/")
        if ZIP_NAME.fullmatch(name) is None or len(name) > FILE_NAME_CHARS_MAX:
            raise BuildFailure(
                Code.ZIP_BAD_NAME,
                f"{name[:FILE_NAME_CHARS_MAX]!r}: names may hold letters, digits and _./- "
                f"and {FILE_NAME_CHARS_MAX} characters",
            )
        if any(part in ("", ".", "..") for part in parts):
            raise BuildFailure(Code.ZIP_BAD_NAME, f"{name!r}: names must be relative, without `..`")
        if PurePosixPath(name).suffix not in SUFFIXES and name not in MANIFESTS:
            raise BuildFailure(
                Code.UNSUPPORTED_SUFFIX, f"{name!r}: a project may hold {', '.join(sorted(SUFFIXES))} files"
            )
        if name.lower() in seen:
            raise BuildFailure(
                Code.ZIP_BAD_NAME, f"{name!r} and {seen[name.lower()]!r} differ only in case or not at all"
            )
        seen[name.lower()] = name
    for name in names:
        for parent in PurePosixPath(name.lower()).parents:
            if str(parent) in seen:
                raise BuildFailure(Code.ZIP_BAD_NAME, f"{seen[str(parent)]!r} is a file and the folder of {name!r}")


def _check_entry(entry: zipfile.ZipInfo) -> None:
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise BuildFailure(Code.ZIP_BAD_ENTRY, f"{entry.filename!r} is a link or a special file; send plain files")
    if entry.flag_bits & 0x1:
        raise BuildFailure(Code.ZIP_BAD_ENTRY, f"{entry.filename!r} is encrypted; send it plain")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BuildFailure(Code.ZIP_BAD_ENTRY, f"{entry.filename!r}: only stored and deflated entries are read")


def _inflate(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int) -> bytes:
    """An entry's bytes. The declared size is not trusted: inflating stops at `limit` bytes."""
    data = bytearray()
    with archive.open(entry) as stream:
        while piece := stream.read(_READ_BYTES):
            data += piece
            if len(data) > limit:
                raise _too_large(entry.filename)
    return bytes(data)


def _too_large(name: str) -> BuildFailure:
    if name in MANIFESTS:
        return BuildFailure(Code.BAD_MANIFEST, f"{name} may have {MANIFEST_BYTES_MAX} bytes")
    return BuildFailure(
        Code.ZIP_EXPANDS_TOO_LARGE, f"the zip expands to more than {ZIP_EXPANDED_BYTES_MAX} bytes (at {name!r})"
    )


def _assemble(files: dict[str, bytes]) -> Bundle:
    manifest_name, manifest = _manifest(files)
    sources = {path: data for path, data in files.items() if path not in MANIFESTS}
    if PurePosixPath(manifest.entrypoint).suffix not in {".py"} | VERILOG_SUFFIXES:
        raise BuildFailure(
            Code.BAD_MANIFEST, f"{manifest_name}: entrypoint {manifest.entrypoint!r} must be a .py, .v or .sv file"
        )
    for path in (manifest.entrypoint, *manifest.verilog_sources):
        if path not in sources:
            raise BuildFailure(Code.BAD_MANIFEST, f"{manifest_name} names {path!r}, which the zip does not hold")
        _require_text(path, sources[path])
    for path in manifest.verilog_sources:
        if PurePosixPath(path).suffix not in VERILOG_SUFFIXES:
            raise BuildFailure(Code.BAD_MANIFEST, f"{manifest_name}: verilog_sources may name .v and .sv, not {path!r}")
    units = tuple(dict.fromkeys(path for path in manifest.verilog_sources if path != manifest.entrypoint))
    ordered = tuple(SourceFile(path, sources[path]) for path in sorted(sources))
    return Bundle(_language(manifest.entrypoint), manifest.entrypoint, ordered, units)


def _manifest(files: dict[str, bytes]) -> tuple[str, _Manifest]:
    present = [name for name in MANIFESTS if name in files]
    if len(present) != 1:
        found = "both" if present else "neither"
        raise BuildFailure(Code.BAD_MANIFEST, f"the zip must hold one of {' or '.join(MANIFESTS)}; it holds {found}")
    try:
        manifest = msgspec.json.decode(files[present[0]], type=_Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BuildFailure(Code.BAD_MANIFEST, f"{present[0]}: {error}") from error
    if manifest.version != 1:
        raise BuildFailure(Code.BAD_MANIFEST, f"{present[0]}: version {manifest.version} is not supported; use 1")
    return present[0], manifest
