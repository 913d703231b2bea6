"""The lab in memory, folded from the log: everything but the jobs and projects that ended long ago.

There is one writer, so between a take-over and its end memory and log are the same thing. A world changes while a batch
of commands is decided; `undo` takes back what was not stored.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, ValuesView
from typing import Any
from uuid import UUID

from lutlab_events.envelope import Happened
from lutlab_events.ids import job_stream
from lutlab_events.values import BitstreamRef, JobType
from lutlab_events.verification import project_stream, verification_stream
from lutlab_scheduler.domain import agent, board, job, key, profile, project, verification, webhook
from lutlab_scheduler.domain.agent import Agent
from lutlab_scheduler.domain.board import Board
from lutlab_scheduler.domain.job import Job
from lutlab_scheduler.domain.key import Key
from lutlab_scheduler.domain.matching import Waiting
from lutlab_scheduler.domain.profile import Profile
from lutlab_scheduler.domain.project import Project
from lutlab_scheduler.domain.verification import Verification
from lutlab_scheduler.domain.webhook import Webhook, WebhookState

ENDED_MAX = 4096
"""How many jobs and projects that ended are kept in memory; older ones are loaded again when a command names them."""

State = Board | Job | Agent | Key | Profile | Webhook | Project | Verification


class UnknownStream(Exception):
    """A stream's name begins with no known aggregate."""

    code = "unknown_stream"


Evolve = Callable[[Any, Happened], State]

KINDS: dict[str, tuple[type[State], Evolve]] = {
    "board": (Board, board.evolve),
    "job": (Job, job.evolve),
    "agent": (Agent, agent.evolve),
    "key": (Key, key.evolve),
    "profile": (Profile, profile.evolve),
    "webhook": (Webhook, webhook.evolve),
    "project": (Project, project.evolve),
    "verification": (Verification, verification.evolve),
}
"""What a stream is, by how its name begins: the class of its states, and how they follow one another."""
BEGINNINGS = {kind: found for kind, (_, found) in KINDS.items()}
GOING_ON: dict[type, Evolve] = dict(KINDS.values())
"""A state says itself what it is, which is quicker than to look at a name; a replay does it a million times."""


def evolve(state: State | None, envelope: Happened) -> State:
    """The aggregate after an event. Raises: IllegalTransition, UnknownStream."""
    found = GOING_ON.get(type(state)) or BEGINNINGS.get(envelope.stream.partition("-")[0])
    if found is None:
        raise UnknownStream(f"stream {envelope.stream!r} at position {envelope.position} is of no known kind")
    return found(state, envelope)


class World:
    """Every aggregate that matters now, by stream and by kind."""

    def __init__(self) -> None:
        self._states: dict[str, State] = {}
        self._boards: dict[int, Board] = {}
        self._board_ids: dict[tuple[str, str], int] = {}
        self._open_jobs: dict[UUID, Job] = {}
        self._builds: Counter[str] = Counter()
        self._timed_jobs: dict[UUID, Job] = {}
        self._waiting = Waiting()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._agents: dict[str, Agent] = {}
        self._digests: dict[str, UUID] = {}
        self._profiles: dict[str, Profile] = {}
        self._webhooks: dict[str, Webhook] = {}
        self._projects: dict[str, dict[str, UUID]] = {}
        self._verifications: dict[UUID, Verification] = {}
        self._journal: list[tuple[str, State | None]] = []

    # -- reading ---------------------------------------------------------------------------------

    def knows(self, stream: str) -> bool:
        """Whether the stream is in memory."""
        return stream in self._states

    def version(self, stream: str) -> int:
        """The stream's version, 0 if nothing happened on it."""
        state = self._states.get(stream)
        return 0 if state is None else state.version

    def state(self, stream: str) -> State | None:
        """The aggregate of a stream."""
        return self._states.get(stream)

    def boards(self) -> ValuesView[Board]:
        """Every board."""
        return self._boards.values()

    def board(self, fpga_id: int) -> Board | None:
        """A board by its number."""
        return self._boards.get(fpga_id)

    def board_by_key(self, site: str, board_key: str) -> Board | None:
        """A board by its agent's own name for it, which is unique within a site."""
        fpga_id = self._board_ids.get((site, board_key))
        return None if fpga_id is None else self._boards[fpga_id]

    def next_fpga_id(self) -> int:
        """The number of the next new board: the smallest that no board ever had."""
        return max(self._boards, default=-1) + 1

    def job(self, job_id: UUID) -> Job | None:
        """A job, if it is open or was loaded."""
        state = self._states.get(job_stream(job_id))
        assert state is None or isinstance(state, Job)
        return state

    def open_jobs(self) -> ValuesView[Job]:
        """Every job that has not ended."""
        return self._open_jobs.values()

    def timed_jobs(self) -> ValuesView[Job]:
        """Every open job with a deadline."""
        return self._timed_jobs.values()

    def waiting(self) -> Waiting:
        """Every built job that has no board yet."""
        return self._waiting

    def open_builds(self) -> int:
        """How many build jobs have not ended."""
        return self._builds.total()

    def open_builds_of(self, owner: str) -> int:
        """How many build jobs of one owner have not ended."""
        return self._builds[owner]

    def agents(self) -> ValuesView[Agent]:
        """Every agent."""
        return self._agents.values()

    def agent(self, agent_id: str) -> Agent | None:
        """An agent by its name."""
        return self._agents.get(agent_id)

    def knows_digest(self, key_sha256: str) -> bool:
        """Whether a key with this digest was ever issued."""
        return key_sha256 in self._digests

    def base(self, profile_name: str) -> BitstreamRef | None:
        """The base design of a profile, None while it is not built."""
        found = self._profiles.get(profile_name)
        return None if found is None else found.base

    def webhooks_of(self, owner: str) -> int:
        """How many webhooks an owner has."""
        mine = (s for s in self._webhooks.values() if s.owner == owner)
        return sum(s.state is not WebhookState.DELETED for s in mine)

    def project(self, project_id: UUID) -> Project | None:
        """A project, unless it was deleted and forgotten."""
        state = self._states.get(project_stream(project_id))
        assert state is None or isinstance(state, Project)
        return state

    def projects_of(self, owner: str) -> Mapping[str, UUID]:
        """The projects of one owner, by name."""
        return self._projects.get(owner, {})

    def verification(self, job_id: UUID) -> Verification | None:
        """A verification job, if it is open or was loaded."""
        state = self._states.get(verification_stream(job_id))
        assert state is None or isinstance(state, Verification)
        return state

    def open_verifications(self) -> ValuesView[Verification]:
        """Every verification job that has not ended."""
        return self._verifications.values()

    # -- writing ---------------------------------------------------------------------------------

    def apply(self, envelope: Happened) -> None:
        """Take in the next event of a stream. Raises: IllegalTransition, UnknownStream."""
        before = self._states.get(envelope.stream)
        assert envelope.version == (0 if before is None else before.version) + 1, f"gap in {envelope.stream}"
        after = evolve(before, envelope)
        self._journal.append((envelope.stream, before))
        self._put(envelope.stream, before, after)

    def replay(self, events: Iterable[Happened]) -> None:
        """Take in recorded events. Raises: IllegalTransition, UnknownStream."""
        states: dict[str, State] = {}
        for event in events:
            stream = event.stream
            before = states.get(stream) or self._states.get(stream)
            assert event.version == (1 if before is None else before.version + 1), f"gap in {stream}"
            states[stream] = GOING_ON.get(type(before), evolve)(before, event)
        for stream, state in states.items():
            self._put(stream, self._states.get(stream), state)
        self.settle()

    def adopt(self, stream: str, state: State) -> None:
        """Take over an aggregate as another world has it."""
        self._put(stream, self._states.get(stream), state)

    def keep(self, streams: Iterable[str]) -> None:
        """Of these, forget ended ones last, as if they had ended just now."""
        for stream in streams:
            if stream in self._ended:
                self._ended.move_to_end(stream)

    def mark(self) -> int:
        """A point to which `undo` can go back, until `settle`."""
        return len(self._journal)

    def undo(self, mark: int = 0) -> None:
        """Take back everything since `mark`."""
        while len(self._journal) > mark:
            stream, before = self._journal.pop()
            self._put(stream, self._states.get(stream), before)

    def settle(self) -> None:
        """Everything so far is stored; forget ended jobs and projects beyond the limit."""
        self._journal.clear()
        while len(self._ended) > ENDED_MAX:
            stream, _ = self._ended.popitem(last=False)
            del self._states[stream]

    def _put(self, stream: str, before: State | None, after: State | None) -> None:
        if after is None:
            self._forget(stream, before)
            return
        self._states[stream] = after
        match after:
            case Board():
                self._boards[after.fpga_id] = after
                self._board_ids[after.site, after.board_key] = after.fpga_id
            case Job():
                self._put_job(stream, before, after)
            case Agent():
                self._agents[after.agent_id] = after
            case Key():
                self._put_key(before, after)
            case Profile():
                self._profiles[after.profile] = after
            case Webhook():
                self._webhooks[stream] = after
            case Project():
                self._name(before, after)
                self._note_end(stream, ended=after.ended)
            case Verification():
                self._put_verification(after)
                self._note_end(stream, ended=after.ended)

    def _name(self, before: State | None, after: Project | None) -> None:
        """Keep the names that are taken."""
        if isinstance(before, Project) and not before.ended:
            names = self._projects[before.owner]
            del names[before.name]
            if not names:
                del self._projects[before.owner]
        if after is not None and not after.ended:
            self._projects.setdefault(after.owner, {})[after.name] = after.project_id

    def _put_verification(self, after: Verification) -> None:
        if after.ended:
            self._verifications.pop(after.job_id, None)
        else:
            self._verifications[after.job_id] = after

    def _note_end(self, stream: str, *, ended: bool) -> None:
        if ended:
            self._ended[stream] = None
        else:
            self._ended.pop(stream, None)

    def _put_key(self, before: State | None, after: Key) -> None:
        for digest in before.digests if isinstance(before, Key) else ():
            self._digests.pop(digest, None)  # a rotation that is taken back takes its digest with it
        for digest in after.digests:
            self._digests[digest] = after.key_id

    def _put_job(self, stream: str, before: State | None, after: Job) -> None:
        self._index(before, after)
        self._count(after, 0 if after.ended else 1)
        if after.ended:
            self._open_jobs.pop(after.job_id, None)
        else:
            self._open_jobs[after.job_id] = after
        self._note_end(stream, ended=after.ended)

    def _index(self, before: State | None, after: Job | None) -> None:
        """Keep the jobs that wait for a board, and those with a deadline, at hand."""
        if isinstance(before, Job):
            self._waiting.remove(before)
            self._timed_jobs.pop(before.job_id, None)
        if after is not None:
            self._waiting.add(after)
            if after.deadline_at is not None:
                self._timed_jobs[after.job_id] = after

    def _count(self, job: Job, wanted: int) -> None:
        """Count an open build job once, whatever it was counted before."""
        change = wanted - (job.job_id in self._open_jobs)
        if job.type is JobType.BUILD_AND_PROGRAM and change:
            self._builds[job.owner] += change
            if not self._builds[job.owner]:
                del self._builds[job.owner]

    def _forget(self, stream: str, before: State | None) -> None:
        self._states.pop(stream, None)
        match before:
            case Board():
                del self._boards[before.fpga_id]
                del self._board_ids[before.site, before.board_key]
            case Job():
                self._index(before, None)
                self._count(before, 0)
                self._open_jobs.pop(before.job_id, None)
                self._ended.pop(stream, None)
            case Agent():
                del self._agents[before.agent_id]
            case Key():
                for digest in before.digests:
                    del self._digests[digest]
            case Profile():
                del self._profiles[before.profile]
            case Webhook():
                del self._webhooks[stream]
            case Project():
                self._name(before, None)
                self._ended.pop(stream, None)
            case Verification():
                self._verifications.pop(before.job_id, None)
                self._ended.pop(stream, None)
