"""What an upload may hold."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from collections.abc import Mapping

import pytest

from lutlab_builder.domain.bundle import Language, read_upload
from lutlab_builder.domain.errors import BuildFailure, Code
from lutlab_events.designs import SOURCE_BYTES_MAX, ZIP_BYTES_MAX, ZIP_FILES_MAX

MANIFEST = {"version": 1, "entrypoint": "design.v", "verilog_sources": ["rtl/a.v"]}
FILES = {
    "design.v": b"module m; endmodule\n",
    "rtl/a.v": b"module a; endmodule\n",
    "include/values.vh": b"`define V 1\n",
}


def make_zip(files: Mapping[str, bytes], manifest: object = MANIFEST, name: str = "mrg-project.json") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        if manifest is not None:
            archive.writestr(name, manifest if isinstance(manifest, bytes) else json.dumps(manifest))
        for path, data in files.items():
            archive.writestr(path, data)
    return out.getvalue()


def refused(filename: str, data: bytes) -> BuildFailure:
    with pytest.raises(BuildFailure) as caught:
        read_upload(filename, data)
    return caught.value


def test_a_single_file_is_a_bundle_of_one() -> None:
    python = read_upload("some/where/design.py", b"x = 1\n")
    verilog = read_upload("C:\\work\\Counter.v", b"module m; endmodule")
    system = read_upload("top.sv", b"module m; endmodule")
    assert (python.language, python.entrypoint, len(python.files)) == (Language.AMARANTH, "design.py", 1)
    assert (verilog.language, verilog.entrypoint) == (Language.VERILOG, "Counter.v")
    assert system.language is Language.VERILOG


def test_a_name_the_tools_could_stumble_over_is_replaced() -> None:
    assert read_upload("-rm -rf $HOME.py", b"x = 1").entrypoint == "design.py"
    assert read_upload(".hidden.v", b"module m; endmodule").entrypoint == "design.v"


@pytest.mark.parametrize(
    ("filename", "data", "code"),
    [
        ("design.py", b"", Code.EMPTY_FILE),
        ("design.v", b" \n\t\n", Code.EMPTY_FILE),
        ("design.exe", b"MZ", Code.UNSUPPORTED_SUFFIX),
        ("design", b"x = 1", Code.UNSUPPORTED_SUFFIX),
        ("design.vhd", b"entity e is", Code.UNSUPPORTED_SUFFIX),
        ("design.py", b"\xff\xfe", Code.NOT_TEXT),
        ("design.py", b"x = 1\0", Code.NOT_TEXT),
        ("design.py", b"#" * (SOURCE_BYTES_MAX + 1), Code.SOURCE_TOO_LARGE),
        ("project.zip", b"PK not a zip", Code.BAD_ZIP),
        ("project.zip", b"\0" * (ZIP_BYTES_MAX + 1), Code.ZIP_TOO_LARGE),
    ],
)
def test_bad_uploads_are_refused(filename: str, data: bytes, code: Code) -> None:
    failure = refused(filename, data)
    assert failure.code is code
    assert filename.partition(".")[0] in failure.message


@pytest.mark.parametrize("name", ["mrg-project.json", "lutlab-project.json"])
def test_a_project_zip_is_read(name: str) -> None:
    found = read_upload("project.zip", make_zip(FILES, name=name))
    assert found.language is Language.VERILOG
    assert found.entrypoint == "design.v"
    assert found.verilog_sources == ("rtl/a.v",)
    assert found.folders == (".", "include", "rtl")
    assert {file.path: file.data for file in found.files} == FILES


def test_the_entrypoint_is_not_compiled_twice() -> None:
    manifest = {"version": 1, "entrypoint": "design.v", "verilog_sources": ["design.v", "rtl/a.v", "rtl/a.v"]}
    assert read_upload("p.zip", make_zip(FILES, manifest)).verilog_sources == ("rtl/a.v",)


@pytest.mark.parametrize(
    "name",
    [
        "../design.v",
        "rtl/../../a.v",
        "/etc/a.v",
        "a//b.v",
        "./a.v",
        "a b.v",
        "a\\b.v",
        "ü.v",
        "rtl/..",
        "x" * 201 + ".v",
    ],
)
def test_names_that_could_leave_the_bundle_are_refused(name: str) -> None:
    failure = refused("p.zip", make_zip({**FILES, name: b"module x; endmodule"}))
    assert failure.code is Code.ZIP_BAD_NAME


@pytest.mark.parametrize("name", ["run.sh", "rtl/a", "notes.txt", "a.v.so", "rtl/mrg-project.json"])
def test_suffixes_are_checked(name: str) -> None:
    failure = refused("p.zip", make_zip({**FILES, name: b"x"}))
    assert failure.code is Code.UNSUPPORTED_SUFFIX
    assert name in failure.message


def test_names_must_differ_in_more_than_case() -> None:
    failure = refused("p.zip", make_zip({**FILES, "RTL/A.v": b"module b; endmodule"}))
    assert failure.code is Code.ZIP_BAD_NAME
    assert "RTL/A.v" in failure.message


def test_a_file_cannot_be_a_folder_too() -> None:
    assert refused("p.zip", make_zip({**FILES, "rtl/a.v/b.v": b"x"})).code is Code.ZIP_BAD_NAME


def test_too_many_files() -> None:
    many = {f"rtl/f{i}.v": b"// x" for i in range(ZIP_FILES_MAX)}
    failure = refused("p.zip", make_zip({**FILES, **many}))
    assert failure.code is Code.ZIP_TOO_MANY_FILES
    assert str(ZIP_FILES_MAX) in failure.message


def test_a_zip_bomb_stops_inflating_at_the_limit() -> None:
    bomb = make_zip({**FILES, "rtl/bomb.hex": b"0" * (64 << 20)})
    assert len(bomb) < ZIP_BYTES_MAX
    assert refused("p.zip", bomb).code is Code.ZIP_EXPANDS_TOO_LARGE


def test_many_small_entries_cannot_add_up_to_a_bomb() -> None:
    parts = {f"rtl/part{i}.hex": b"0" * (1 << 20) for i in range(17)}
    assert refused("p.zip", make_zip({**FILES, **parts})).code is Code.ZIP_EXPANDS_TOO_LARGE


def test_a_lying_size_in_the_directory_is_not_believed() -> None:
    data = bytearray(make_zip({**FILES, "rtl/bomb.hex": b"0" * (17 << 20)}))
    real = (17 << 20).to_bytes(4, "little")
    while (at := data.find(real)) >= 0:
        data[at : at + 4] = (100).to_bytes(4, "little")
    assert refused("p.zip", bytes(data)).code in {Code.ZIP_EXPANDS_TOO_LARGE, Code.BAD_ZIP}


def test_symbolic_links_are_refused() -> None:
    out = io.BytesIO(make_zip(FILES))
    with zipfile.ZipFile(out, "a") as archive:
        link = zipfile.ZipInfo("rtl/link.v")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert refused("p.zip", out.getvalue()).code is Code.ZIP_BAD_ENTRY


def test_other_compressions_are_refused() -> None:
    out = io.BytesIO(make_zip(FILES))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("rtl/z.v", b"0" * 1000, zipfile.ZIP_LZMA)
    assert refused("p.zip", out.getvalue()).code is Code.ZIP_BAD_ENTRY


def test_a_damaged_entry_is_a_bad_zip() -> None:
    data = bytearray(make_zip({"design.v": bytes(range(256)) * 40, "rtl/a.v": b"x"}))
    at = data.find(b"design.v") + 60
    data[at] ^= 0xFF
    assert refused("p.zip", bytes(data)).code is Code.BAD_ZIP


@pytest.mark.parametrize(
    "manifest",
    [
        None,
        b"not json",
        b"[]",
        b"{" + b" " * 4096 + b"}",
        {"version": 2, "entrypoint": "design.v"},
        {"entrypoint": "design.v"},
        {"version": 1, "entrypoint": "missing.v"},
        {"version": 1, "entrypoint": "include/values.vh"},
        {"version": 1, "entrypoint": "design.v", "verilog_sources": ["gone.v"]},
        {"version": 1, "entrypoint": "design.v", "verilog_sources": ["include/values.vh"]},
        {"version": 1, "entrypoint": "design.v", "verilog_sources": "rtl/a.v"},
    ],
)
def test_bad_manifests_are_refused(manifest: object) -> None:
    assert refused("p.zip", make_zip(FILES, manifest)).code is Code.BAD_MANIFEST


def test_two_manifests_are_one_too_many() -> None:
    files = {**FILES, "lutlab-project.json": json.dumps(MANIFEST).encode()}
    failure = refused("p.zip", make_zip(files))
    assert failure.code is Code.BAD_MANIFEST
    assert "both" in failure.message


def test_folder_entries_are_passed_over() -> None:
    out = io.BytesIO(make_zip(FILES))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("rtl/", b"")
    assert len(read_upload("p.zip", out.getvalue()).files) == len(FILES)
