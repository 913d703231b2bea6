"""How often a session's use is reported: often enough to keep it alive, seldom enough not to flood the ledger."""

from __future__ import annotations

USE_REPORT_S_MAX = 30.0


def use_report_interval_s(session_ttl_s: float) -> float:
    """At least this many seconds lie between two reports of one session's use."""
    return max(0.0, min(USE_REPORT_S_MAX, session_ttl_s / 4))


def use_report_due(reported_at_s: float | None, now_s: float, session_ttl_s: float) -> bool:
    """Whether use seen at `now_s` is worth a report, the last one being of `reported_at_s` (None: never)."""
    return reported_at_s is None or now_s - reported_at_s >= use_report_interval_s(session_ttl_s)
