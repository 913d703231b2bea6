"""Rows of the views as what the API shows."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from lutlab_api.adapters.rows import BOARDS, board

BITS = json.dumps({"address_words": 512})


def row(**given: Any) -> dict[str, Any]:
    """A row of `boards`."""
    columns = [name.strip() for name in BOARDS.removeprefix("select").partition("from")[0].split(",")]
    fixed = {
        "fpga_id": 3,
        "state": "idle",
        "profile": "ulx3s-25f",
        "epoch": 1,
        "updated_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return dict.fromkeys(columns) | fixed | given


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"state": "resetting"}, "base_design_missing"),
        ({"state": "resetting", "bitstream": BITS}, None),
        ({"state": "idle"}, None),
        ({"state": "lost", "service": "removed"}, "board_removed"),
        ({"state": "resetting", "service": "maintenance"}, "board_in_maintenance"),
        ({"state": "error", "error_code": "cable_busy"}, "cable_busy"),
    ],
)
def test_a_board_says_what_it_waits_for_or_suffers_from(given: dict[str, Any], code: str | None) -> None:
    error = board(row(**given)).error
    assert (error and error.code) == code
    if code == "base_design_missing":
        assert "ulx3s-25f" in error.message
