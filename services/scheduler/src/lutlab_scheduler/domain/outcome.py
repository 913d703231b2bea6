"""What a decision is made of: the rules in force, the moment, and a refusal with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from lutlab_events.rejections import Rejection

RESET_ATTEMPTS_MAX = 3
RESET_RETRY_WAITS_S = (1.0, 5.0)
"""How long after the first and the second failed reset the next one starts."""
RESET_REST_S = 120.0
"""How long a board rests after the last of them failed, until all begins again: what was wrong may have passed."""
BUILD_ATTEMPTS_MAX = 3
"""How often a build is started over because its bitstream was lost."""
BUILD_STARTS_MAX = 5
"""How often one attempt may be begun (each time after a builder died or was stopped) until the job is given up."""
QUARANTINE_AFTER = 3
"""How many loads in a row may fail until a board is quarantined, unless the settings say otherwise."""
HEALTH_CHECK_EVERY_S = 30.0
"""How long after its quarantine began, or after a health check, a board is checked (again)."""
HEALTH_CHECKS_TO_PASS = 2
"""How many health checks in a row return a quarantined board."""
STAGE_GRACE_S = 60.0
"""A builder ends a stage at its limit by itself; so much later the stage is over whatever the builder says."""
LAST_PLACES = 8
"""Nobody may have more than so many times as many jobs open as there are places left: whoever has none finds one."""
RENEWAL_PARTS = 60
"""A session is renewed only where this moves its end by at least this fraction of its time to live: bounds the log."""

assert len(RESET_RETRY_WAITS_S) == RESET_ATTEMPTS_MAX - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The limits a decision obeys; from the settings.

    Attributes:
        session_ttl: how long a session lasts without use.
        program_deadline: how long loading a bitstream may take.
        build_deadline: how long one build attempt may take.
        stage_limit: how long one stage of a verification job may take; its builder ends it then.
        owner_bytes_max: how many bytes one owner may have stored, see `lutlab_ledger.storage`.
        queue_jobs_max: how many build jobs may be open at once.
        profiles: the device profiles that exist.
        default_profile: what to build for if neither job nor boards say.
        owner_jobs_max: how many build jobs of one owner may be open at once.
        owner_boards_max: how many boards one owner may have at once; further jobs wait.
        session_max: how long a session may last, however much it is used.
        quarantine_after: how many loads in a row may fail until a board gets no more jobs.
    """

    session_ttl: timedelta
    program_deadline: timedelta
    build_deadline: timedelta
    queue_jobs_max: int
    profiles: frozenset[str]
    default_profile: str
    owner_jobs_max: int = 1 << 31
    owner_boards_max: int = 1 << 31
    session_max: timedelta = timedelta(days=36500)
    quarantine_after: int = QUARANTINE_AFTER
    stage_limit: timedelta = timedelta(seconds=3600)
    owner_bytes_max: int = 1 << 62

    @property
    def stage_deadline(self) -> timedelta:
        """When a stage is over whatever its builder says."""
        return self.stage_limit + timedelta(seconds=STAGE_GRACE_S)


@dataclass(frozen=True, slots=True)
class Context:
    """The moment of a decision and the rules that hold."""

    now: datetime
    rules: Rules


@dataclass(frozen=True, slots=True)
class Rejected:
    """A refusal: a stable code, and a sentence that names the value at fault and the way out."""

    code: Rejection
    message: str


def crowds(rules: Rules, owner: str, what: str, all_open: int, own_open: int) -> Rejected | None:
    """Why an owner may open no further job, None if one may.

    Args:
        what: what kind of job, for the message.
        all_open, own_open: how many are open, of all and of this owner.
    """
    limit, own_limit = rules.queue_jobs_max, rules.owner_jobs_max
    if all_open >= limit:
        return Rejected(Rejection.QUEUE_FULL, f"{all_open} {what} are open, the limit is {limit}; try again later")
    if own_open >= own_limit:
        return Rejected(
            Rejection.OWNER_LIMIT,
            f"{owner} has {own_open} open {what}, the limit is {own_limit}; wait for one, or cancel one",
        )
    if own_open >= LAST_PLACES * (limit - all_open):
        return Rejected(
            Rejection.OWNER_LIMIT,
            f"{all_open} of at most {limit} {what} are open, {own_open} of them {owner}'s: the last places are for "
            "those who have fewer; wait for one, or cancel one",
        )
    return None
