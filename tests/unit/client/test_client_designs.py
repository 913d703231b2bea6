"""What is sent of the files that make a design."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from lutlab.designs import Design, upload
from lutlab.errors import LutlabError
from lutlab_builder.domain.bundle import read_upload


def test_one_file_goes_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "design.v").write_text("module m; endmodule")
    for design in (tmp_path / "design.v", str(tmp_path / "design.v"), [tmp_path / "design.v"]):
        assert upload(design) == ("design.v", b"module m; endmodule")
    assert upload(("a.py", b"x")) == ("a.py", b"x")


def test_one_file_of_system_verilog_goes_as_a_project(tmp_path: Path) -> None:
    (tmp_path / "design.sv").write_text("module m; endmodule")
    name, data = upload(tmp_path / "design.sv")
    assert (name, read_upload(name, data).entrypoint) == ("project.zip", "design.sv")


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    for name in ("top/top.sv", "top/rtl/alu.v", "top/rom.hex", "lib/fifo.v", "lib/defs.vh", "top/rtl/rom.hex"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"// {name}\n")
    return tmp_path


def test_several_files_are_a_project_that_the_builder_reads(parts: Path) -> None:
    wanted = [parts / name for name in ("top/top.sv", "top/rtl/alu.v", "top/rom.hex", "lib/fifo.v", "lib/defs.vh")]
    name, data = upload(wanted)
    bundle = read_upload(name, data)
    assert (bundle.entrypoint, bundle.verilog_sources) == ("top.sv", ("rtl/alu.v", "fifo.v"))
    assert [file.path for file in bundle.files] == ["defs.vh", "fifo.v", "rom.hex", "rtl/alu.v", "top.sv"]
    assert upload(wanted) == (name, data)


def test_a_folder_is_what_its_manifest_says(parts: Path) -> None:
    manifest = {"version": 1, "entrypoint": "top.sv", "verilog_sources": ["rtl/alu.v"]}
    (parts / "top" / "lutlab-project.json").write_text(json.dumps(manifest))
    (parts / "top" / "notes.txt").write_text("not sent")
    (parts / "top" / ".git").mkdir()
    (parts / "top" / ".git" / "x.v").write_text("not sent")
    name, data = upload(parts / "top")
    assert read_upload(name, data).verilog_sources == ("rtl/alu.v",)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["lutlab-project.json", "rom.hex", "rtl/alu.v", "rtl/rom.hex", "top.sv"]


@pytest.mark.parametrize(
    ("design", "says"),
    [
        ([], "at least one"),
        ("lib", "no lutlab-project.json"),
        (["top/top.sv", "README.md"], "may hold"),
        (["lib/fifo.v", "top/rom.hex", "top/rtl/rom.hex"], "rename one"),
    ],
)
def test_what_makes_no_project_is_told(parts: Path, monkeypatch: pytest.MonkeyPatch, design: Design, says: str) -> None:
    monkeypatch.chdir(parts)
    with pytest.raises(LutlabError, match=says):
        upload(design)
