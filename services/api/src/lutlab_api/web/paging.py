"""Pages of lists: `page` and `per_page` for people, an opaque `cursor` for programs that must not miss anything."""

from __future__ import annotations

import base64
import binascii
import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, get_args
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from lutlab_api.domain.errors import Code, Invalid
from lutlab_api.web.moments import in_utc

T = TypeVar("T")
PER_PAGE_DEFAULT = 20
PER_PAGE_MAX = 1000
PAGE_MAX = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Strict(BaseModel):
    """Base of everything sent to /api/v1: an unknown field is refused, with the nearest known one as a hint."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def fields_of(annotation: Any) -> set[str]:
    """Every field that a type of requests knows, those of its parts included."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        parts = [field.annotation for field in annotation.model_fields.values()]
        return set(annotation.model_fields).union(*map(fields_of, parts))
    return set().union(*map(fields_of, get_args(annotation)))


class PageQuery(Strict):
    """Which part of a list."""

    page: int = Field(1, ge=1, le=PAGE_MAX, description="from 1; ignored with a `cursor`")
    per_page: int = Field(PER_PAGE_DEFAULT, ge=1, le=PER_PAGE_MAX, description="most entries to list")
    cursor: str | None = Field(None, max_length=200, description="`next_cursor` of the page before")

    @property
    def offset(self) -> int:
        """How many entries lie before the page."""
        return (self.page - 1) * self.per_page


class Page(BaseModel):
    """Base of every list."""

    total: int = Field(description="how many entries there are in all")
    page: int
    per_page: int
    next_cursor: str | None = Field(description="pass as `cursor` for the next page; null at the end")


def cursor_of(text: str) -> str:
    """An opaque cursor."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(cursor: str) -> str:
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise _bad(cursor) from None


def _bad(cursor: str) -> Invalid:
    return Invalid(
        Code.INVALID_CURSOR,
        f"cursor {cursor[:40]!r} was not made here; pass next_cursor of the page before, as it was",
        details={"field": "cursor"},
    )


def job_before(cursor: str | None) -> UUID | None:
    """The job a cursor of a list of jobs, of either kind, stands after. Raises: Invalid."""
    if cursor is None:
        return None
    try:
        return UUID(_decoded(cursor))
    except ValueError:
        raise _bad(cursor) from None


Place = tuple[int | str, ...]
"""Where an entry stands in its list: what comes later has a greater place, and nothing else has the same one."""


def newest_first(at: datetime | None, ident: UUID) -> Place:
    """The place in a list whose newest entry comes first."""
    return -(((at or EPOCH) - EPOCH) // timedelta(microseconds=1)), str(ident)


def value_before(cursor: str | None, sort: str) -> tuple[datetime | str, UUID] | None:
    """The value and the id a cursor of a list sorted by `sort` stands after; see `cursor_after`. Raises: Invalid."""
    if cursor is None:
        return None
    try:
        by, value, ident = _place_in(cursor)
        if by != sort:
            raise ValueError("it is of another order")
        if not (isinstance(value, str) and value.isascii() and value.isprintable()):
            raise ValueError("it is no name and no moment")
        return value if sort.endswith("name") else in_utc(datetime.fromisoformat(value)), UUID(str(ident))
    except ValueError:
        raise _bad(cursor) from None


def cursor_after(sort: str, value: datetime | str, ident: UUID) -> str:
    """The cursor of a page whose last entry has this value in what the list is sorted by."""
    return cursor_of(json.dumps([sort, value if isinstance(value, str) else value.isoformat(), ident.hex]))


def page_of(entries: Iterable[T], query: PageQuery, place: Callable[[T], Place]) -> tuple[Sequence[T], dict[str, Any]]:
    """A page of a list that is there as a whole, in the order of `place`, and the fields of `Page`.

    A cursor holds the place of the page's last entry, not a number of entries: what is added to or goes from the list
    meanwhile is neither left out nor told twice.

    Raises:
        Invalid: the cursor was not made here.
    """
    ordered = sorted(entries, key=place)
    start = query.offset
    if query.cursor is not None:
        after = _place_in(query.cursor)
        try:
            start = bisect_right(ordered, after, key=place)
        except TypeError:  # it is of another list
            raise _bad(query.cursor) from None
    end = start + query.per_page
    following = cursor_of(json.dumps(place(ordered[end - 1]))) if end < len(ordered) else None
    return ordered[start:end], {
        "total": len(ordered),
        "page": start // query.per_page + 1,
        "per_page": query.per_page,
        "next_cursor": following,
    }


def _place_in(cursor: str) -> Place:
    try:
        found = json.loads(_decoded(cursor))
    except ValueError:
        raise _bad(cursor) from None
    if not isinstance(found, list) or not all(type(part) in (int, str) for part in found):
        raise _bad(cursor)
    return tuple(found)
