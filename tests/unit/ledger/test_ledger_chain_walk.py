"""The walk over the hash chain: every kind of tampering shows, and is told once."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from lutlab_ledger.chain import GENESIS, LogRow, canonical, chain_hash
from lutlab_ledger.verify import ChainWalk, Noted, Verdict

Rows = list[tuple[LogRow, bytes]]


def written(count: int = 6) -> Rows:
    """A log of two streams, as the scheduler writes it."""
    rows: Rows = []
    last = GENESIS
    for position in range(1, count + 1):
        row = LogRow(
            position=position,
            event_id=UUID(int=position),
            stream=f"board-{position % 2}",
            version=(position + 1) // 2,
            type="board.reset.v1",
            data=f"""{{"type":"board.reset.v1","epoch":{position}}}""",
            causation_id=UUID(int=1),
            correlation_id=UUID(int=2),
            actor="ada",
            site="main",
            at=datetime(2026, 1, 1, 0, 0, position, tzinfo=UTC),
        )
        last = chain_hash(last, row)
        rows.append((row, last))
    return rows


def walk(rows: Rows, noted: Noted | None = None) -> Verdict:
    walker = ChainWalk(noted)
    for row, stored in rows:
        walker.take(row, stored)
    return walker.finish()


def test_a_log_as_written_is_intact() -> None:
    rows = written()
    verdict = walk(rows)
    assert verdict.intact
    assert (verdict.events, verdict.streams, verdict.end) == (6, 2, Noted(6, rows[-1][1]))
    assert walk([]).intact


@pytest.mark.parametrize("field", [name for name in LogRow.__struct_fields__ if name != "position"])
def test_a_change_of_any_column_shows_at_its_row(field: str) -> None:
    rows = written()
    row, stored = rows[2]
    value = getattr(row, field)
    other = {
        UUID: UUID(int=99),
        str: f"{value}x",
        int: 7,
        datetime: datetime(2020, 1, 1, tzinfo=UTC),
    }[type(value)]
    rows[2] = (msgspec.structs.replace(row, **{field: other}), stored)
    assert 3 in {damage.position for damage in walk(rows).damages}


def test_a_row_rewritten_with_a_fitting_hash_shows_at_the_next_row() -> None:
    rows = written()
    forged = msgspec.structs.replace(rows[2][0], actor="mallory")
    rows[2] = (forged, chain_hash(rows[1][1], forged))
    assert [damage.position for damage in walk(rows).damages] == [4]


def test_a_removed_row_shows_as_a_gap() -> None:
    rows = written()
    del rows[2]
    assert "positions 3 to 3 are missing" in walk(rows).damages[0].problem


def test_a_log_cut_off_at_its_end_shows_against_a_noted_end() -> None:
    rows = written()
    noted = walk(rows).end
    assert walk(rows[:4]).intact
    assert "it reached position 6" in walk(rows[:4], noted).damages[0].problem
    assert walk(written(9), noted).intact


def test_a_log_written_anew_shows_against_a_noted_end() -> None:
    noted = Noted(4, b"\7" * 32)
    assert [damage.position for damage in walk(written(), noted).damages] == [4]


def test_an_end_can_be_kept_as_text() -> None:
    end = walk(written()).end
    assert Noted.parse(str(end)) == end
    for text in ("", "6", "x:00", "6:00"):
        with pytest.raises(ValueError):
            Noted.parse(text)


@pytest.mark.parametrize("text", ["plain", "", 'quotes " \\ /', "\n\t\x00\x1f\x7f", "é ✓ \u2028 😀", "\ud800"])
def test_a_row_is_hashed_as_a_json_array_in_ascii_without_white_space(text: str) -> None:
    """As the log has always been hashed: whoever changes this makes every log that exists look tampered with."""
    row = msgspec.structs.replace(written(1)[0][0], stream=text, data=text, actor=text, type=text, site=text)
    micros = 1_767_225_601_000_000
    columns = [1, str(row.event_id), text, 1, text, text, str(row.causation_id), str(row.correlation_id), text, text]
    expected = json.dumps([*columns, micros], ensure_ascii=True, separators=(",", ":")).encode()
    assert canonical(row) == expected
    assert chain_hash(GENESIS, row) == hashlib.sha256(GENESIS + expected).digest()
