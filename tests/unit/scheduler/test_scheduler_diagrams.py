"""The diagrams in the documentation are those of the tables."""

from __future__ import annotations

from pathlib import Path

from lutlab_scheduler.diagrams import DIAGRAMS, fill

DOCUMENT = Path(__file__).parents[3] / "docs" / "architecture.md"


def test_the_architecture_document_is_up_to_date() -> None:
    text = DOCUMENT.read_text()
    assert fill(text) == text, "run: python -m lutlab_scheduler.diagrams docs/architecture.md"
    assert "programming --> reserved: programmed" in text
    assert "building --> cancelled: cancelled" in text


def test_every_machine_can_be_drawn_and_filling_twice_changes_nothing() -> None:
    for name in DIAGRAMS:
        once = fill(f"before\n<!-- generated: {name} -->\nold\n<!-- /generated -->\nafter\n")
        assert "stateDiagram-v2" in once and "old" not in once and once.endswith("after\n")
        assert fill(once) == once
