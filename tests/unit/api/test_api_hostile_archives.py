"""Archives that are small on the wire and large, endless or broken inside: refused, for the price of what is let in."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
import zipfile

import pytest

from lutlab_api.domain.errors import Invalid
from lutlab_api.domain.project_files import ENTRIES_MAX, Uploaded
from lutlab_api.domain.upload import zip_directory_bytes

MIB = 1 << 20


def unpack(name: str, data: bytes) -> dict[str, bytes]:
    uploaded = Uploaded(MIB)
    uploaded.unpack(name, data)
    return uploaded.files


def head(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE], ids=["longname", "pax"])
def test_a_name_of_megabytes_is_not_read_into_memory(kind: bytes) -> None:
    bomb = gzip.compress(head("name", 48 * MIB, kind) + bytes(48 * MIB), 1)
    tracemalloc.start()
    try:
        with pytest.raises(Invalid, match="unpacked"):
            unpack("a.tar.gz", bomb)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32 * MIB, f"{peak >> 20} MiB for an upload of {len(bomb) >> 10} KiB"


def test_a_size_below_zero_ends() -> None:
    with pytest.raises(Invalid, match="damaged"):
        unpack("a.tar", head("x.v", 0) + head("a.v", -512) + bytes(1024))


def test_an_archive_of_nothing_but_folders_ends() -> None:
    folder = head("d/", 0, tarfile.DIRTYPE)
    with pytest.raises(Invalid, match="lists more than"):
        unpack("a.tgz", gzip.compress(folder * (ENTRIES_MAX + 1), 1))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(ENTRIES_MAX + 1):
            archive.writestr(f"d{number}/", b"")
    with pytest.raises(Invalid, match="lists more than"):
        unpack("a.zip", out.getvalue())


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
def test_methods_whose_blocks_have_no_bounds_are_not_unpacked(method: int) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("a.v", b"module a; endmodule\n")
    with pytest.raises(Invalid, match="unusual way"):
        unpack("a.zip", out.getvalue())


def test_a_directory_of_megabytes_is_not_read() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("a.v")
        info.comment = bytes(0xFFFF)
        archive.writestr(info, b"")
        archive.filelist += [info] * 40
    data = out.getvalue()
    assert (zip_directory_bytes(data) or 0) > 2 * MIB
    with pytest.raises(Invalid, match="lists more than"):
        unpack("a.zip", data)


def test_damage_within_a_stream_is_the_callers_mistake() -> None:
    whole = bytearray(gzip.compress(head("a.v", 1000) + bytes(1024)))
    whole[20:30] = b"\xff" * 10
    with pytest.raises(Invalid, match="cannot be unpacked"):
        unpack("a.tgz", bytes(whole))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.v", bytes(range(256)) * 40)
    whole = bytearray(out.getvalue())
    whole[40:60] = b"\xff" * 20
    with pytest.raises(Invalid, match="cannot be unpacked"):
        unpack("a.zip", bytes(whole))


def test_ordinary_archives_are_unpacked() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name in ("rtl/a.v", f"rtl/{'b' * 120}/b.v"):
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    assert unpack("a.tar.gz", out.getvalue()) == {"rtl/a.v": b"abc", f"rtl/{'b' * 120}/b.v": b"abc"}
