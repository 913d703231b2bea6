"""Files of a verification project as they are uploaded: their paths, and archives of them, within limits."""

from __future__ import annotations

import gzip
import io
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Collection

from lutlab_api.domain.errors import Code, Invalid
from lutlab_api.domain.upload import zip_directory_bytes

FILES_MAX = 2000
FILE_BYTES_MAX = 32 << 20
PATH_CHARS_MAX = 200
DEPTH_MAX = 16
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
ENTRIES_MAX = 2 * FILES_MAX
"""Files and folders of an archive."""
ZIP_DIRECTORY_BYTES_MAX = 2 << 20
"""Room for `ENTRIES_MAX` long names; bounds the work of listing a hostile zip."""
ZIP_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""Of the others Python unpacks a whole block at once, however large that gets."""
TAR_OVERHEAD_BYTES = 8 << 20
"""What a tar may have beside the files themselves: heads, padding, long names."""
_GZIP_MAGIC = b"\x1f\x8b"
UNREADABLE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    IndexError,
)
"""What reading a damaged archive can raise; names that are no text are a ValueError, empty ones an IndexError."""
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@=-]*|\.[A-Za-z0-9_][A-Za-z0-9_.+@=-]*")


def check_path(path: str) -> str:
    """A path within a project: plain names, no way out of it. Raises: Invalid."""
    parts = path.removeprefix("./").split("/")
    fits = len(path) <= PATH_CHARS_MAX and len(parts) <= DEPTH_MAX
    if not fits or not all(_PART.fullmatch(part) for part in parts):
        raise Invalid(
            Code.VALIDATION_ERROR,
            f"{path[:80]!r} is no path within a project: use letters, digits and `_ . + @ = -`, separated by `/`, at "
            f"most {PATH_CHARS_MAX} characters and {DEPTH_MAX} folders deep",
            details={"field": "files[]", "file": path[:PATH_CHARS_MAX]},
        )
    return "/".join(parts)


def check_tree(paths: Collection[str]) -> None:
    """Pass paths that can stand in one folder. Raises: Invalid, if one is the folder of another."""
    every = frozenset(paths)
    for path in paths:
        for end, letter in enumerate(path):
            if letter == "/" and path[:end] in every:
                raise Invalid(
                    Code.VALIDATION_ERROR,
                    f"{path[:end][:80]!r} cannot be a file and the folder of {path[:80]!r}; upload with ?replace=true "
                    "to put the files in place of those there are",
                    details={"field": "files[]", "file": path},
                )


def is_archive(name: str) -> bool:
    """Whether a file is unpacked rather than kept."""
    return name.lower().endswith(ARCHIVES)


class Uploaded:
    """Gathers uploaded files by path, within the limits of one upload."""

    def __init__(self, bytes_max: int) -> None:
        """
        Args:
            bytes_max: of all files together, archives unpacked.
        """
        self.files: dict[str, bytes] = {}
        self._bytes_left = bytes_max
        self._bytes_max = bytes_max

    def add(self, path: str, data: bytes) -> None:
        """One file. Raises: Invalid."""
        place = check_path(path)
        if len(data) > FILE_BYTES_MAX:
            raise Invalid(
                Code.FILE_TOO_LARGE,
                f"{place!r} has {len(data)} bytes; a file may have {FILE_BYTES_MAX}",
                details={"field": "files[]", "file": place},
            )
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise self._too_large()
        if place not in self.files and len(self.files) >= FILES_MAX:
            raise Invalid(Code.VALIDATION_ERROR, f"more than {FILES_MAX} files in one upload")
        self.files[place] = data

    def unpack(self, name: str, data: bytes) -> None:
        """Every file of an archive. Raises: Invalid."""
        try:
            if name.lower().endswith(".zip"):
                self._unzip(data)
            else:
                self._untar(data)
        except UNREADABLE as error:
            raise Invalid(
                Code.VALIDATION_ERROR, f"{name[:80]!r} cannot be unpacked: {error}", details={"field": "files[]"}
            ) from error

    def _unzip(self, data: bytes) -> None:
        directory_bytes = zip_directory_bytes(data)
        if directory_bytes is None or directory_bytes > ZIP_DIRECTORY_BYTES_MAX:
            raise self._too_many()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for number, entry in enumerate(archive.infolist(), 1):
                kind = entry.external_attr >> 16
                if number > ENTRIES_MAX:
                    raise self._too_many()
                if entry.is_dir():
                    continue
                if stat.S_IFMT(kind) not in (0, stat.S_IFREG) or entry.compress_type not in ZIP_METHODS:
                    raise self._odd(entry.filename)
                self._room_for(entry.file_size)
                with archive.open(entry) as file:
                    self.add(entry.filename, file.read(entry.file_size + 1))

    def _untar(self, data: bytes) -> None:
        # Inflated here, within bounds: tarfile would read a "name" of gigabytes into memory, compressed to kilobytes.
        if data.startswith(_GZIP_MAGIC):
            room = self._bytes_left + TAR_OVERHEAD_BYTES
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as inflated:
                data = inflated.read(room + 1)
            if len(data) > room:
                raise self._too_large()
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for number, entry in enumerate(archive, 1):
                # A negative size makes tarfile go back and find the same entry again, for ever.
                if number > ENTRIES_MAX or entry.size < 0:
                    raise self._too_many()
                if entry.isdir():
                    continue
                if not entry.isreg():
                    raise self._odd(entry.name)
                self._room_for(entry.size)
                file = archive.extractfile(entry)
                assert file is not None
                self.add(entry.name, file.read())

    def _room_for(self, size: int) -> None:
        if size > self._bytes_left:
            raise self._too_large()

    def _too_large(self) -> Invalid:
        return Invalid(
            Code.BODY_TOO_LARGE,
            f"the files of one upload may have {self._bytes_max} bytes together, unpacked; these have more",
            details={"field": "files[]", "limit_bytes": self._bytes_max},
        )

    def _too_many(self) -> Invalid:
        return Invalid(
            Code.VALIDATION_ERROR,
            f"the archive lists more than {ENTRIES_MAX} files and folders, or is damaged",
            details={"field": "files[]"},
        )

    def _odd(self, name: str) -> Invalid:
        return Invalid(
            Code.VALIDATION_ERROR,
            f"{name[:80]!r} in the archive is a link, a special file or packed in an unusual way; only ordinary files "
            "and folders are taken, stored or deflated",
            details={"field": "files[]", "file": name[:PATH_CHARS_MAX]},
        )
