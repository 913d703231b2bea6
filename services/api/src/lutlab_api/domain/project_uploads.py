"""What may be uploaded to a verification project: files and archives, within limits, on paths that stay inside."""

from __future__ import annotations

import io
import re
import stat
import tarfile
import zipfile

from lutlab_api.domain.errors import Code, Invalid

FILES_MAX = 2000
FILE_BYTES_MAX = 32 << 20
PATH_CHARS_MAX = 200
DEPTH_MAX = 16
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
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
        except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, RuntimeError, NotImplementedError) as error:
            raise Invalid(
                Code.VALIDATION_ERROR, f"{name[:80]!r} cannot be unpacked: {error}", details={"field": "files[]"}
            ) from error

    def _unzip(self, data: bytes) -> None:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                kind = entry.external_attr >> 16
                if entry.is_dir():
                    continue
                if stat.S_IFMT(kind) not in (0, stat.S_IFREG):
                    raise self._odd(entry.filename)
                self._room_for(entry.file_size)
                with archive.open(entry) as file:
                    self.add(entry.filename, file.read(entry.file_size + 1))

    def _untar(self, data: bytes) -> None:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as archive:
            for entry in archive:
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

    def _odd(self, name: str) -> Invalid:
        return Invalid(
            Code.VALIDATION_ERROR,
            f"{name[:80]!r} in the archive is a link or a special file; only ordinary files and folders are taken",
            details={"field": "files[]", "file": name[:PATH_CHARS_MAX]},
        )
