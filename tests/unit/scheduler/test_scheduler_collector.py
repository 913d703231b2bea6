"""The garbage collector during a replay."""

from __future__ import annotations

import gc

import pytest

from lutlab_scheduler.collector import paused


def test_collections_rest_for_a_block_and_go_on_after_it_whatever_happens() -> None:
    assert gc.isenabled()
    with pytest.raises(ValueError, match="broken"), paused():
        assert not gc.isenabled()
        raise ValueError("broken")
    assert gc.isenabled()
    gc.disable()
    try:
        with paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
