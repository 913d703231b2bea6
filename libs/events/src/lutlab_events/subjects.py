"""NATS subjects, streams and durable consumers: the only place where their names are written.

| subject | kind | from -> to |
|---|---|---|
| `cmd.<site>.<command>` | JetStream COMMANDS | API, agents, builders -> scheduler |
| `ans.<instance>.<command_id>` | core | scheduler -> whoever waits |
| `evt.<site>.<aggregate>.<id>.<type>` | JetStream EVENTS | relay -> subscribers |
| `work.<site>.build` | JetStream WORK | scheduler -> one builder |
| `work.<site>.agent.<agent_id>` | JetStream WORK | scheduler -> that agent |
| `log.<site>.<job_id>` | JetStream LOGS | builder -> ledger |
| `hb.<site>.agent.<agent_id>` | core | agent -> scheduler |
| `hb.<site>.builder.<builder_id>` | core | builder -> API: alive, with its tools |
| `live.<site>.<job_id>` | core | builder -> API: how far a stage is |
| `ctl.<site>.builders`, `ctl.<site>.agent.<agent_id>` | core | scheduler -> builders, agent |
| `qry.<site>.<question>` | core request/reply | API -> scheduler: what only folding the log can answer |
| `bus.<site>.<agent_id>` | core request/reply | API -> agent: live Wishbone traffic |
| `ask.<site>.key` | core request/reply | agent -> any API: is this key still good? |
"""

from __future__ import annotations

import re
from typing import Literal
from uuid import UUID

from lutlab_events.values import Frozen

TOKEN_CHARS_MAX = 64
TOKEN = re.compile(rf"[A-Za-z0-9_-]{{1,{TOKEN_CHARS_MAX}}}")
ANSWER = re.compile(rf"ans\.{TOKEN.pattern}\.{TOKEN.pattern}")


class InvalidToken(ValueError):
    """A site or agent name cannot be part of a subject."""

    code = "invalid_name"


def token(name: str) -> str:
    """`name`, if it may stand between dots in a subject. Raises: InvalidToken."""
    if not TOKEN.fullmatch(name):  # `match` and `$` would let a line's end pass
        raise InvalidToken(f"{name!r} must be 1 to {TOKEN_CHARS_MAX} letters, digits, `_` or `-`")
    return name


class StreamSpec(Frozen, frozen=True, kw_only=True):
    """A JetStream stream as it must be; reconciled by the scheduler at start.

    Attributes:
        retention: `workqueue` deletes what was acknowledged; `limits` keeps until a limit.
        max_bytes, max_age_s: its limits. A full work queue refuses new messages rather than dropping old ones.
        duplicate_window_s: how long a Nats-Msg-Id is remembered.
    """

    name: str
    subjects: tuple[str, ...]
    retention: Literal["limits", "workqueue"]
    max_bytes: int
    max_age_s: int = 0
    duplicate_window_s: int = 120


MIB = 1 << 20
COMMANDS = StreamSpec(name="COMMANDS", subjects=("cmd.>",), retention="workqueue", max_bytes=256 * MIB)
EVENTS = StreamSpec(name="EVENTS", subjects=("evt.>",), retention="limits", max_bytes=512 * MIB, max_age_s=7 * 86400)
WORK = StreamSpec(name="WORK", subjects=("work.>",), retention="workqueue", max_bytes=256 * MIB)
LOGS = StreamSpec(name="LOGS", subjects=("log.>",), retention="workqueue", max_bytes=256 * MIB, max_age_s=86400)
DEAD = StreamSpec(name="DEAD", subjects=("dead.>",), retention="limits", max_bytes=64 * MIB, max_age_s=30 * 86400)
STREAMS = (COMMANDS, EVENTS, WORK, LOGS, DEAD)
BLOB_BUCKET = "blobs"

DEAD_DURABLE = "dead-letters"
H_DEAD_SUBJECT = "Lutlab-Subject"
"""Header of a dead letter: the subject it came on, where a replay publishes it again."""
H_DEAD_REASON = "Lutlab-Reason"
"""Header of a dead letter: why nobody could do anything with it."""

SCHEDULER_DURABLE = "scheduler"
LOG_DURABLE = "log-ingest"
BUILD_ACK_WAIT_S = 15.0
"""A builder that dies is noticed after this long; a living one says `in_progress` every third of it."""
PROGRAM_ACK_WAIT_S = 15.0
COMMAND_ACK_WAIT_S = 10.0


def command(site: str, kind: str) -> str:
    """Where a command of this class name is published."""
    return f"cmd.{token(site)}.{kind}"


def answer(instance: str, command_id: UUID) -> str:
    """Where the answer to a command goes that this process instance sent; `CommandClient` adds a request number."""
    return f"ans.{instance}.{command_id}"


def is_answer(subject: str) -> bool:
    """Whether an answer may be published there. The scheduler may publish anywhere, and whoever asks may not."""
    return ANSWER.fullmatch(subject) is not None


def event(site: str, stream: str, kind: str) -> str:
    """Where an event is published: `evt.main.board.3.programmed.v1` for `board.programmed.v1` of `board-3`."""
    aggregate, _, name = stream.partition("-")
    return f"evt.{token(site)}.{aggregate}.{name.replace('.', '_')}.{kind.partition('.')[2]}"


def build_work(site: str) -> str:
    """Where build work is published."""
    return f"work.{token(site)}.build"


def agent_work(site: str, agent_id: str) -> str:
    """Where one agent's work is published."""
    return f"work.{token(site)}.agent.{token(agent_id)}"


def builder_durable(site: str) -> str:
    """The consumer all builders of a site share."""
    return f"builders-{token(site)}"


def agent_durable(site: str, agent_id: str) -> str:
    """One agent's consumer."""
    return f"agent-{token(site)}-{token(agent_id)}"


def inbox(durable: str) -> str:
    """Prefix of a client's own reply subjects, so that a server can keep clients from reading each other's replies."""
    return f"_INBOX_{durable}"


def log(site: str, job_id: UUID) -> str:
    """Where a job's log lines are published."""
    return f"log.{token(site)}.{job_id}"


def heartbeat(site: str, agent_id: str) -> str:
    """Where an agent says it is alive."""
    return f"hb.{token(site)}.agent.{token(agent_id)}"


def heartbeats(site: str) -> str:
    """All heartbeats of a site."""
    return f"hb.{token(site)}.agent.*"


def builder_heartbeat(site: str, builder_id: str) -> str:
    """Where a builder says it is alive; `*` for all of them."""
    return f"hb.{token(site)}.builder.{builder_id if builder_id == '*' else token(builder_id)}"


def live(site: str, job_id: UUID | None = None) -> str:
    """Where it is said how far a job's stage is; of any job without one."""
    return f"live.{token(site)}.{job_id or '*'}"


def builders_control(site: str) -> str:
    """Messages to all builders of a site."""
    return f"ctl.{token(site)}.builders"


def agent_control(site: str, agent_id: str) -> str:
    """Messages to one agent."""
    return f"ctl.{token(site)}.agent.{token(agent_id)}"


def bus(site: str, agent_id: str) -> str:
    """Where an agent answers bus requests."""
    return f"bus.{token(site)}.{token(agent_id)}"


def key_question(site: str) -> str:
    """Where an API answers whether a key is still good (`lutlab_events.busmsg.KeyAnswer`)."""
    return f"ask.{token(site)}.key"


def query(site: str, name: str) -> str:
    """Where the leading scheduler answers a question of `lutlab_events.queries`."""
    return f"qry.{token(site)}.{token(name)}"


def is_of(stream: str, subject: str) -> bool:
    """Whether messages of this subject are in the stream of this name."""
    prefixes = [each.removesuffix(">") for spec in STREAMS if spec.name == stream for each in spec.subjects]
    return any(subject.startswith(prefix) for prefix in prefixes)


def dead(site: str, origin: str) -> str:
    """Where an undecodable message of stream `origin` is kept."""
    return f"dead.{token(site)}.{origin}"
