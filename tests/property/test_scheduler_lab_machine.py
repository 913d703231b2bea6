"""Any commands in any order, any delay: the lab never crashes, never contradicts itself, and always comes to rest."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lutlab_events import commands as c
from lutlab_events import events as e
from lutlab_events.envelope import CommandEnvelope, EventEnvelope
from lutlab_events.ids import derived
from lutlab_events.values import BitstreamRef, BoardReport, BoardState, BusFailure, JobType, Json
from lutlab_scheduler.app.checkpoints import restored
from lutlab_scheduler.app.handlers import HANDLERS
from lutlab_scheduler.app.ports import Checkpoint
from lutlab_scheduler.app.projections import project
from lutlab_scheduler.app.transaction import Transaction
from lutlab_scheduler.app.world import World
from lutlab_scheduler.domain.board import Board
from lutlab_scheduler.domain.job import Job, JobState
from lutlab_scheduler.domain.matching import Waiting
from lutlab_scheduler.domain.outcome import Rejected, Rules
from lutlab_scheduler.domain.policies import agenda

S = BoardState
PROFILES = ("lfe5u-25f", "lfe5um5g-85f")
RULES = Rules(
    session_ttl=timedelta(seconds=100),
    program_deadline=timedelta(seconds=20),
    build_deadline=timedelta(seconds=60),
    queue_jobs_max=6,
    profiles=frozenset(PROFILES),
    default_profile=PROFILES[0],
)
OWNERS = st.sampled_from(["ada", "eve"])
AGENTS = st.sampled_from(["agent-a", "agent-a", "agent-a", "agent-b"])
KEYS = ("k0", "k1", "k2")
FPGAS = st.sampled_from([0, 0, 0, 0, 1, 1, 1, 2, 3])
JOBS = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 50])
NUDGES = st.sampled_from([0, 0, 0, -1, 1])
SETTLE_ROUNDS_MAX = 60


def bits(name: str, profile: str) -> BitstreamRef:
    build_id = sum(name.encode())
    return BitstreamRef(
        digest=name.rjust(64, "0"),
        size_bytes=1,
        build_key=name,
        build_id=build_id,
        profile=profile,
        clk_hz=50_000_000,
        baud=1_000_000,
    )


class LabMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.log: list[EventEnvelope] = []
        self.count = 0
        self.jobs: list[UUID] = []
        self.loads: dict[str, int] = {}
        self.ended: dict[UUID, JobState] = {}

    # -- the writer, without its store ---------------------------------------------------------------

    def do(self, command: c.Command) -> Json | Rejected:
        self.count += 1
        ident = derived("command", self.count)
        envelope = CommandEnvelope(
            command_id=ident, body=command, actor="test", site="main", correlation_id=ident, issued_at=self.now
        )
        tx = Transaction(world=self.world, command=envelope, rules=RULES, position=len(self.log), now=self.now)
        mark = self.world.mark()
        outcome: Json | Rejected = HANDLERS[type(command)](command, tx)
        if isinstance(outcome, Rejected):
            self.world.undo(mark)
            assert outcome.message
            return outcome
        for event in tx.events:
            self.follow(event)
        self.log += tx.events
        for stream in {event.stream for event in tx.events}:
            state = self.world.state(stream)
            assert state is not None
            msgspec.json.encode(project(state).values)
        self.world.settle()
        return outcome

    def follow(self, envelope: EventEnvelope) -> None:
        """The epoch of every load is above all before it."""
        body = envelope.body
        if isinstance(body, e.ProgrammingStarted | e.ResetStarted | e.RestoreStarted):
            assert body.epoch > self.loads.get(envelope.stream, 0), envelope
            self.loads[envelope.stream] = body.epoch

    def board(self, fpga_id: int) -> Board | None:
        return self.world.board(fpga_id)

    def some_job(self, index: int) -> UUID:
        """A job, rather one of the newest."""
        return self.jobs[-1 - index % len(self.jobs)] if self.jobs else derived("no such job")

    def new_job(self) -> UUID:
        return derived("job", self.count)

    # -- shortcuts to places that single steps rarely reach ------------------------------------------

    @initialize(base=st.booleans(), keys=st.sampled_from([KEYS[:1], KEYS[:2], KEYS]))
    def open_lab(self, base: bool, keys: tuple[str, ...]) -> None:
        if base:
            self.base_built(PROFILES[0], "base")
        self.register("agent-a", 0, set(keys), False, 0, PROFILES[0])

    @rule(owner=OWNERS, pinned=st.none() | FPGAS, how_far=st.integers(0, 4))
    def walk(self, owner: str, pinned: int | None, how_far: int) -> None:
        """Some of the way from a submit to a session."""
        self.submit(owner, pinned, None)
        if how_far > 0:
            self.report_build(0, 0, "started", None)
        if how_far > 1:
            self.report_build(0, 0, "succeeded", None)
        if how_far > 2:
            self.keep_house()
        if how_far > 3:
            for board in list(self.world.boards()):
                if board.state is S.PROGRAMMING:
                    self.report_load(board.fpga_id, 0, True)

    @rule(fpga_id=FPGAS, release=st.booleans())
    def give_back_rightly(self, fpga_id: int, release: bool) -> None:
        board = self.board(fpga_id)
        self.give_back(board.session.owner if board and board.session else "ada", fpga_id, release, False)

    # -- users -----------------------------------------------------------------------------------------

    @rule(owner=OWNERS, fpga_id=st.none() | FPGAS, profile=st.sampled_from([None, *PROFILES, "ice40"]))
    def submit(self, owner: str, fpga_id: int | None, profile: str | None) -> None:
        job_id = self.new_job()
        command = c.SubmitBuild(
            job_id=job_id, owner=owner, source_digest="5" * 64, filename="design.v", fpga_id=fpga_id, profile=profile
        )
        if not isinstance(self.do(command), Rejected):
            self.jobs.append(job_id)

    @rule(owner=OWNERS, index=JOBS, fpga_id=st.none() | FPGAS, admin=st.booleans())
    def cancel(self, owner: str, index: int, fpga_id: int | None, admin: bool) -> None:
        self.do(c.CancelJob(job_id=self.some_job(index), owner=owner, fpga_id=fpga_id, is_admin=admin))

    @rule(owner=OWNERS, fpga_id=FPGAS, release=st.booleans(), admin=st.booleans(), which=st.integers(0, 3))
    def give_back(self, owner: str, fpga_id: int, release: bool, admin: bool, which: int = 0) -> None:
        kind = c.ReleaseSession if release else c.ResetBoard
        job_id = self.new_job()
        before = self.board(fpga_id)
        sessions = [s.session_id for s in (before.session, before.past_session) if s] if before else []
        meant = [None, *sessions, derived("none"), derived("none")][min(which, len(sessions) + 1)]
        outcome = self.do(kind(job_id=job_id, owner=owner, fpga_id=fpga_id, is_admin=admin, session_id=meant))
        if isinstance(outcome, Rejected):
            return
        self.jobs.append(job_id)
        assert before is not None
        assert admin or before.session is None or before.session.owner == owner
        assert before.session is None or meant in (None, before.session.session_id)

    @rule(owner=OWNERS, fpga_id=FPGAS, which=st.integers(0, 2), fails=st.booleans())
    def run(self, owner: str, fpga_id: int, which: int, fails: bool) -> None:
        board = self.board(fpga_id)
        sessions = [s.session_id for s in (board.session, board.past_session) if s] if board else []
        session_id = [*sessions, derived("none"), derived("none")][min(which, len(sessions))]
        self.do(
            c.RecordRun(
                job_id=self.new_job(),
                owner=owner,
                fpga_id=fpga_id,
                session_id=session_id,
                op=1,
                address_bytes=0,
                count=1,
                fixed_address=False,
                failure=BusFailure(code="nack", message="no answer") if fails else None,
            )
        )

    # -- admins ----------------------------------------------------------------------------------------

    @rule(fpga_id=FPGAS, kick=st.booleans())
    def withdraw(self, fpga_id: int, kick: bool) -> None:
        self.do(c.WithdrawBoard(fpga_id=fpga_id, owner="root", reason="new fan", kick=kick))

    @rule(fpga_id=FPGAS)
    def forget(self, fpga_id: int) -> None:
        self.do(c.ForgetBoard(fpga_id=fpga_id, owner="root"))

    @rule(fpga_id=FPGAS)
    def put_back(self, fpga_id: int) -> None:
        self.do(c.ReturnBoard(fpga_id=fpga_id, owner="root"))

    # -- builders --------------------------------------------------------------------------------------

    @rule(
        index=JOBS,
        nudge=NUDGES,
        what=st.sampled_from(["started", "stage", "succeeded", "failed", "lost"]),
        profile=st.none() | st.sampled_from(PROFILES),
    )
    def report_build(self, index: int, nudge: int, what: str, profile: str | None) -> None:
        job_id = self.some_job(index)
        job = self.world.job(job_id)
        attempt = (job.attempt if job else 1) + nudge
        target = profile or (job.profile if job else None) or PROFILES[0]
        commands: dict[str, c.Command] = {
            "started": c.ReportBuildStarted(job_id=job_id, attempt=attempt, builder_id="b"),
            "stage": c.ReportBuildStage(job_id=job_id, attempt=attempt, stage="pack"),
            "failed": c.ReportBuildFailed(job_id=job_id, attempt=attempt, code="x", message="y"),
            "lost": c.RetryBuild(job_id=job_id, attempt=attempt, reason="wiped"),
            "succeeded": c.ReportBuildSucceeded(
                job_id=job_id, attempt=attempt, bitstream=bits("user", target), report={}, cached=False
            ),
        }
        self.do(commands[what])

    @rule(profile=st.sampled_from([*PROFILES, "ice40"]), name=st.sampled_from(["base", "base2"]))
    def base_built(self, profile: str, name: str) -> None:
        self.do(c.ReportBaseBuilt(profile=profile, bitstream=bits(name, profile)))

    # -- agents ----------------------------------------------------------------------------------------

    def report(self, key: str, intact: bool, nudge: int, profile: str = PROFILES[0]) -> BoardReport:
        board = self.world.board_by_key("main", key)
        build_id = board.session.bitstream.build_id if intact and board and board.session else None
        epoch = max(0, (board.epoch if board else 0) + nudge)
        return BoardReport(board_key=key, profile=profile, running_build_id=build_id, epoch=epoch)

    @rule(
        agent=AGENTS,
        incarnation=st.integers(0, 1),
        keys=st.sets(st.sampled_from(KEYS)),
        intact=st.booleans(),
        nudge=NUDGES,
        profile=st.sampled_from([PROFILES[0], PROFILES[0], PROFILES[1]]),
    )
    def register(self, agent: str, incarnation: int, keys: set[str], intact: bool, nudge: int, profile: str) -> None:
        boards = tuple(self.report(key, intact, nudge, profile) for key in sorted(keys))
        outcome = self.do(c.RegisterAgent(agent_id=agent, incarnation=derived(agent, incarnation), boards=boards))
        assert not isinstance(outcome, Rejected) and set(outcome["boards"]) == keys

    @rule(agent=AGENTS, incarnation=st.integers(0, 1))
    def lose_agent(self, agent: str, incarnation: int) -> None:
        self.do(c.LoseAgent(agent_id=agent, incarnation=derived(agent, incarnation)))

    @rule(agent=AGENTS, fpga_id=FPGAS)
    def unplug(self, agent: str, fpga_id: int) -> None:
        self.do(c.ReportBoardLost(fpga_id=fpga_id, agent_id=agent, message="unplugged"))

    @rule(agent=AGENTS, fpga_id=FPGAS, intact=st.booleans(), nudge=NUDGES)
    def plug(self, agent: str, fpga_id: int, intact: bool, nudge: int) -> None:
        board = self.board(fpga_id)
        key = board.board_key if board else "k9"
        self.do(c.ReportBoardFound(fpga_id=fpga_id, agent_id=agent, report=self.report(key, intact, nudge)))

    @rule(fpga_id=FPGAS, nudge=NUDGES, well=st.sampled_from([True, True, False]))
    def report_load(self, fpga_id: int, nudge: int, well: bool) -> None:
        board = self.board(fpga_id)
        epoch = (board.epoch if board else 0) + nudge
        if well:
            self.do(c.ReportProgrammed(fpga_id=fpga_id, epoch=epoch))
        else:
            self.do(c.ReportProgramFailed(fpga_id=fpga_id, epoch=epoch, code="cable", message="loose"))

    @rule(fpga_id=FPGAS, nudge=NUDGES)
    def use(self, fpga_id: int, nudge: int) -> None:
        board = self.board(fpga_id)
        session_id = board.session.session_id if board and board.session else derived("none")
        epoch = (board.epoch if board else 0) + nudge
        self.do(c.ReportSessionUsed(fpga_id=fpga_id, session_id=session_id, epoch=epoch))

    # -- the scheduler itself, and time ----------------------------------------------------------------

    @rule(seconds=st.sampled_from([0, 1, 6, 21, 61, 101]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def keep_house(self) -> None:
        for _ in range(SETTLE_ROUNDS_MAX):
            due = agenda(self.world.open_jobs(), self.world.boards(), self.now).due
            if not due:
                return
            for item in due:
                if isinstance(item.command, c.AssignBoard):
                    board = self.board(item.command.fpga_id)
                    assert board is not None
                    assert board.absence is None or board.claim is not None
            outcomes = [self.do(item.command) for item in due]
            # Two timers of one board may go off at once; then one of them is too late. But never is all refused.
            assert not all(isinstance(outcome, Rejected) for outcome in outcomes), (due, outcomes)
        raise AssertionError(f"the scheduler does not come to rest: {due}")

    # -- what always holds -----------------------------------------------------------------------------

    @invariant()
    def boards_make_sense(self) -> None:
        sessions = [b.session.session_id for b in self.world.boards() if b.session]
        assert len(sessions) == len(set(sessions))
        for board in self.world.boards():
            assert (board.loading is not None) == (board.state in {S.PROGRAMMING, S.RESETTING, S.RESTORING})
            assert not (board.claim and board.session)
            if board.state in {S.IDLE, S.RESETTING, S.ERROR}:
                assert board.claim is None and board.session is None
            if board.state in {S.RESERVED, S.RESTORING}:
                assert board.session is not None
            if board.state in {S.QUEUED, S.BUILDING, S.PROGRAMMING}:
                assert board.claim is not None
            if board.state is S.IDLE:
                assert board.reset is None and board.retry_at is None

    @invariant()
    def boards_can_be_kept_as_they_are(self) -> None:
        for board in self.world.boards():
            assert restored(Checkpoint(f"board-{board.fpga_id}", board.version, msgspec.json.encode(board))) == board

    @invariant()
    def every_job_is_somebodys(self) -> None:
        """A job that is on a board is on exactly one, and a board holds only open jobs: nothing hangs for ever."""
        held = [b.claim.job_id for b in self.world.boards() if b.claim]
        held += [b.reset.job_id for b in self.world.boards() if b.reset and b.reset.job_id]
        assert len(held) == len(set(held))
        for job_id in held:
            job = self.world.job(job_id)
            assert job is not None and not job.ended, job
        for job in self.world.open_jobs():
            on_board = job.state is JobState.ON_BOARD
            pinned = job.type is JobType.BUILD_AND_PROGRAM and job.pinned_fpga_id is not None
            assert (job.job_id in held) == (on_board or pinned), job

    @invariant()
    def ends_are_final(self) -> None:
        for job_id, state in self.ended.items():
            job = self.world.job(job_id)
            assert job is not None and job.state is state
        for job_id in self.jobs:
            job = self.world.job(job_id)
            assert isinstance(job, Job)
            if job.ended:
                self.ended[job_id] = job.state

    @invariant()
    def the_indexes_are_what_the_jobs_say(self) -> None:
        jobs = list(self.world.open_jobs())
        expected, kept = Waiting(jobs), self.world.waiting()
        assert (kept.queues, kept.pinned) == (expected.queues, expected.pinned)
        assert {j.job_id for j in self.world.timed_jobs()} == {j.job_id for j in jobs if j.deadline_at is not None}
        builds = Counter(j.owner for j in jobs if j.type is JobType.BUILD_AND_PROGRAM)
        assert self.world.open_builds() == builds.total()
        assert {owner: self.world.open_builds_of(owner) for owner in builds} == builds

    @invariant()
    def limits_hold(self) -> None:
        assert self.world.open_builds() <= RULES.queue_jobs_max

    # -- and in the end --------------------------------------------------------------------------------

    def teardown(self) -> None:
        self.replay_gives_the_same()
        self.all_comes_to_rest()

    def replay_gives_the_same(self) -> None:
        again = World()
        again.replay(self.log)
        for stream in {event.stream for event in self.log}:
            assert again.state(stream) == self.world.state(stream)
        assert [event.position for event in self.log] == list(range(1, len(self.log) + 1))

    def all_comes_to_rest(self) -> None:
        """If from now on everybody behaves, every job ends and every board is idle again."""
        for profile in PROFILES:
            self.do(c.ReportBaseBuilt(profile=profile, bitstream=bits("base", profile)))
        boards = tuple(self.report(key, False, 0, PROFILES[index % 2]) for index, key in enumerate(KEYS))
        self.do(c.RegisterAgent(agent_id="agent-a", incarnation=derived("last"), boards=boards))
        for board in list(self.world.boards()):
            self.do(c.ReturnBoard(fpga_id=board.fpga_id, owner="root"))
        for _ in range(SETTLE_ROUNDS_MAX):
            self.everybody_behaves()
            self.keep_house()
            self.now += timedelta(seconds=1)
            self.boards_make_sense()
            self.every_job_is_somebodys()
            resting = [b for b in self.world.boards() if b.state is S.ERROR and b.retry_at is None]
            for board in resting:
                self.do(c.ResetBoard(job_id=derived("rest", self.count), owner="ada", fpga_id=board.fpga_id))
            if not self.world.open_jobs() and all(b.state is S.IDLE for b in self.world.boards()):
                return
        raise AssertionError([list(self.world.open_jobs()), list(self.world.boards())])

    def everybody_behaves(self) -> None:
        for job in list(self.world.open_jobs()):
            if job.state in {JobState.QUEUED, JobState.BUILDING}:
                assert job.profile is not None
                self.do(
                    c.ReportBuildSucceeded(
                        job_id=job.job_id,
                        attempt=job.attempt,
                        bitstream=bits("user", job.profile),
                        report={},
                        cached=True,
                    )
                )
        for board in list(self.world.boards()):
            if board.loading is not None:
                self.do(c.ReportProgrammed(fpga_id=board.fpga_id, epoch=board.epoch))
            elif board.session is not None:
                owner: Any = board.session.owner
                self.do(c.ReleaseSession(job_id=derived("end", self.count), owner=owner, fpga_id=board.fpga_id))


TestLabMachine = LabMachine.TestCase
TestLabMachine.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
