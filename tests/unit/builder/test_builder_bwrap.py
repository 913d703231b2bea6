"""Which bubblewrap is taken."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lutlab_builder.adapters import bwrap
from lutlab_builder.adapters.hostfiles import PackageMissing
from lutlab_builder.domain.errors import BuildFailure, Code


def test_without_the_wheel_it_is_the_systems_and_without_both_the_builder_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_wheel(name: str) -> Path:
        raise PackageMissing(name)

    monkeypatch.setattr(bwrap, "package_folder", no_wheel)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert bwrap.find_bwrap() == Path("/usr/bin/bwrap")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(BuildFailure, match="no bubblewrap") as failed:
        bwrap.find_bwrap()
    assert failed.value.code is Code.SANDBOX_UNAVAILABLE
