"""`lutlab-migrate` explains what is wrong, without a traceback."""

from __future__ import annotations

import sys

import pytest

from lutlab_ledger.__main__ import main


@pytest.mark.parametrize("url", ["nonsense", "postgresql://x@127.0.0.1:1/x"])
def test_a_database_that_cannot_be_used_is_one_sentence(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(sys, "argv", ["lutlab-migrate", "--database-url", url])
    with pytest.raises(SystemExit, match="lutlab-migrate: the database cannot be reached"):
        main()
