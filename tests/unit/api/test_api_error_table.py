"""docs/errors.md lists the codes as they are."""

from __future__ import annotations

from pathlib import Path

from lutlab_api.domain.errors import Code
from lutlab_api.error_table import table
from lutlab_events.rejections import Rejection

DOCUMENT = Path(__file__).parents[3] / "docs" / "errors.md"


def test_the_document_is_the_table() -> None:
    assert DOCUMENT.read_text() == table(), "run: python -m lutlab_api.error_table > docs/errors.md"


def test_every_code_is_in_it() -> None:
    text = table()
    for code in (*Code, *Rejection):
        assert text.count(f"| `{code}` |") == 1, code
