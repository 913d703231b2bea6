"""When to try again: ten attempts over 75 hours and a half, as Standard Webhooks recommends."""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

WAITS = tuple(
    timedelta(seconds=s) for s in (5, 300, 1800, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
"""Between the attempts: 75 h 35 min 5 s in all, and up to a tenth more by jitter."""
ATTEMPTS_MAX = len(WAITS) + 1
JITTER = 0.1
RETRY_AFTER_MAX = timedelta(hours=24)


def next_attempt(attempts: int, now: datetime, jitter: float, retry_after: timedelta | None) -> datetime | None:
    """When to try again after `attempts` failures, None for never.

    Args:
        jitter: 0 to 1, random: spreads what failed together.
        retry_after: what the endpoint asked for; can only make it later.
    """
    if attempts >= ATTEMPTS_MAX:
        return None
    wait = WAITS[attempts - 1] * (1 + JITTER * jitter)
    return now + max(wait, min(retry_after or timedelta(0), RETRY_AFTER_MAX))


def parse_retry_after(text: str | None, now: datetime) -> timedelta | None:
    """A Retry-After header, in seconds or as a date; None if there is none that can be read."""
    if not text:
        return None
    if text.strip().isdecimal():
        return timedelta(seconds=min(int(text), int(RETRY_AFTER_MAX.total_seconds())))
    try:
        return max(parsedate_to_datetime(text) - now, timedelta(0))
    except (ValueError, TypeError, OverflowError):  # the last for a day, or an offset, of twenty digits
        return None
