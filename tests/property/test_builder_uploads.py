"""Whatever is uploaded, it is a bundle within the limits or a told failure; nothing else ever comes out."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import PurePosixPath

from hypothesis import given, settings
from hypothesis import strategies as st

from lutlab_builder.domain.bundle import Bundle, read_upload
from lutlab_builder.domain.errors import BuildFailure
from lutlab_events.designs import ZIP_EXPANDED_BYTES_MAX, ZIP_FILES_MAX, ZIP_NAME


def _zip(files: list[tuple[str, bytes]], manifest: object) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two names may be the same once zipfile has cut them at a NUL
        archive.writestr("mrg-project.json", json.dumps(manifest))
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name), data)
    return out.getvalue()


VALID = _zip(
    [("design.v", b"module m; endmodule"), ("rtl/a.v", b"module a; endmodule"), ("b.hex", b"00" * 200)],
    {"version": 1, "entrypoint": "design.v", "verilog_sources": ["rtl/a.v"]},
)
NAMES = st.text("ab./-_ \\\0ü", min_size=1, max_size=12).map(lambda stem: stem + ".v")


def check(filename: str, data: bytes) -> Bundle | None:
    """Read an upload; if it is taken, it keeps every rule."""
    try:
        found = read_upload(filename, data)
    except BuildFailure as failure:
        assert failure.message
        return None
    paths = [file.path for file in found.files]
    assert found.entrypoint in paths
    assert set(found.verilog_sources) <= set(paths)
    assert len({path.lower() for path in paths}) == len(paths) <= ZIP_FILES_MAX
    assert sum(len(file.data) for file in found.files) <= ZIP_EXPANDED_BYTES_MAX
    for path in paths:
        assert ZIP_NAME.fullmatch(path)
        assert not path.startswith("/")
        assert ".." not in PurePosixPath(path).parts
    return found


def test_the_untouched_zip_is_taken() -> None:
    assert check("project.zip", VALID) is not None


@given(st.sampled_from(["design.py", "design.v", "project.zip", "x", ""]), st.binary(max_size=300))
def test_any_bytes(filename: str, data: bytes) -> None:
    check(filename, data)


@settings(max_examples=400)
@given(st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_zip(changes: list[tuple[int, int]]) -> None:
    data = bytearray(VALID)
    for at, value in changes:
        data[at] = value
    check("project.zip", bytes(data))


@given(st.integers(0, len(VALID)))
def test_a_cut_zip(length: int) -> None:
    check("project.zip", VALID[:length])


@given(st.lists(NAMES, min_size=1, max_size=5), st.data())
def test_any_names(names: list[str], data: st.DataObject) -> None:
    entrypoint = data.draw(st.sampled_from(names))
    files = [(name, b"module m; endmodule") for name in dict.fromkeys(names)]
    check("project.zip", _zip(files, {"version": 1, "entrypoint": entrypoint}))
