"""One handler per command: load the aggregates, let the domain decide, append what was decided.

A handler may append to several streams; all of it is one transaction. It returns the answer's data, or a refusal, in
which case whatever it appended is taken back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lutlab_events.values import Json
from lutlab_scheduler.app.handlers import boards, jobs, registry, verification, webhooks
from lutlab_scheduler.app.transaction import Transaction
from lutlab_scheduler.domain.outcome import Rejected

Handler = Callable[[Any, Transaction], Json | Rejected]

HANDLERS: dict[type, Handler] = {
    **jobs.HANDLERS,
    **boards.HANDLERS,
    **registry.HANDLERS,
    **webhooks.HANDLERS,
    **verification.HANDLERS,
}
"""Every command class and what carries it out."""

__all__ = ["HANDLERS", "Handler"]
