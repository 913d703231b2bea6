"""Whose work goes to the builders next, and how much of it is in their queue."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from scheduler_fakes import ManualClock
from scheduler_rig import Rig
from scheduler_verification_lab import OTHER, PROJECT, submit

from lutlab_events import commands as c
from lutlab_events import verification as v
from lutlab_events.ids import derived
from lutlab_events.work import BuildWork, StageWork
from lutlab_scheduler.app.line import AHEAD_MAX, OVERTAKEN, STALLED, Line, Wanted


class Builders:
    """Take what is in their queue, and tell the line."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.line = Line(self.clock)
        self.queue: list[Wanted] = []
        self.busy: Counter[str] = Counter()

    def ask(self, owner: str, *numbers: int, priority: int = 0, site: str = "main") -> None:
        for number in numbers:
            stream = f"job-{number}"
            self.line.see(stream, Wanted(f"build-{number}-1", stream, site, owner, priority, number))
        self.send()

    def send(self) -> None:
        while (work := self.line.next(lambda: self.busy)) is not None:
            self.line.take(work, in_queue=True)
            self.queue.append(work)

    def begin(self, place: int = 0) -> None:
        work = self.queue.pop(place)
        self.busy[work.owner] += 1
        self.line.see(work.stream, None)
        self.send()

    def end(self, owner: str) -> None:
        self.busy[owner] -= 1

    def order(self) -> list[int]:
        """Which builds are begun, with one slot, until none is left."""
        found = []
        while self.queue:
            found.append(self.queue[0].number)
            owner = self.queue[0].owner
            self.begin()
            self.end(owner)
        return found


def test_one_build_passes_all_but_a_few_of_those_that_somebody_else_asked_for_before() -> None:
    builders = Builders()
    builders.ask("hog", *range(1, 500))
    assert [work.number for work in builders.queue] == list(range(1, 1 + AHEAD_MAX))
    builders.ask("late", 500)
    order = builders.order()
    assert order.index(500) == AHEAD_MAX
    assert sorted(order) == list(range(1, 501))


def test_owners_get_as_much_of_the_builders_as_each_other() -> None:
    builders = Builders()
    builders.ask("hog", *range(1, 100))
    builders.ask("late", *range(100, 110))
    for _ in range(AHEAD_MAX + 8):
        builders.begin()
    # Nobody has ended anything: who has less under way has caught up.
    held = Counter(work.owner for work in builders.queue) + builders.busy
    assert held["late"] == held["hog"]


def test_a_higher_priority_goes_first_and_one_owners_builds_go_in_order() -> None:
    builders = Builders()
    builders.ask("ada", 1, 2, 3, 4, 6, 5)
    builders.ask("bob", 7, priority=-1)
    builders.ask("ada", 8, priority=1)
    assert builders.order() == [1, 2, 3, 4, 8, 5, 6, 7]


def test_what_is_called_off_or_begins_anew_takes_its_place_again() -> None:
    builders = Builders()
    builders.ask("ada", *range(1, 8))
    builders.line.see("job-5", None)
    builders.line.see("job-1", Wanted("build-1-2", "job-1", "main", "ada", 0, 1))  # its bitstream was lost
    builders.send()
    assert [work.name for work in builders.queue[AHEAD_MAX:]] == ["build-1-2"]
    assert builders.order() == [1, 2, 3, 4, 1, 6, 7]


def test_what_waits_for_room_elsewhere_holds_nobody_up() -> None:
    builders = Builders()
    for number in range(1, 8):
        work = Wanted(f"build-{number}-1", f"job-{number}", "main", "ada", 0, number)
        builders.line.see(work.stream, work)
        builders.line.take(work, in_queue=False)
    builders.ask("ada", 8)
    assert [work.number for work in builders.queue] == [8]


def test_another_sites_builders_are_others() -> None:
    builders = Builders()
    builders.ask("ada", *range(1, 10))
    builders.ask("ada", 10, site="elsewhere")
    assert builders.queue[-1].number == 10


def test_what_nobody_begins_holds_the_line_up_for_a_while_only() -> None:
    builders = Builders()
    builders.ask("ada", *range(1, 20))
    lost, builders.queue = builders.queue, []
    assert not builders.line.is_stalled()
    builders.clock.advance(STALLED.total_seconds())
    assert builders.line.is_stalled() and not builders.line.is_stalled()
    builders.send()
    assert len(builders.queue) == 1
    builders.clock.advance(OVERTAKEN.total_seconds() + 1)
    builders.begin()  # what was sent long before it is not there
    assert len(builders.queue) == AHEAD_MAX
    builders.line.see(lost[-1].stream, None)  # it was, after all
    builders.send()
    assert len(builders.queue) == AHEAD_MAX


def test_a_line_that_was_empty_for_long_is_not_stalled() -> None:
    builders = Builders()
    builders.clock.advance(10 * STALLED.total_seconds())
    builders.ask("ada", *range(1, 20))
    assert not builders.line.is_stalled()


async def test_builds_and_stages_are_sent_in_turn_and_once() -> None:
    rig = Rig("cd" * 32, "file", "source")
    rig.lab.rules = replace(rig.lab.rules, profiles=frozenset({"p"}), queue_jobs_max=100)
    jobs = [derived("hog", number) for number in range(10)]
    for job_id in jobs:
        submitted = c.SubmitBuild(job_id=job_id, owner="hog", source_digest="source", filename="a.v", profile="p")
        assert isinstance(rig.lab.told(submitted), list)
    rig.lab.told(submit("lint", job_id=OTHER))
    await rig.follow()
    sent = [work for _, work in rig.bus.work]
    assert [work.job_id for work in sent if isinstance(work, BuildWork)] == jobs[: AHEAD_MAX - 1]
    assert [type(work) for work in sent].count(StageWork) == 1, "the stage that was asked for first"
    rig.lab.told(c.ReportBuildStarted(job_id=jobs[0], attempt=1, builder_id="b"))
    await rig.follow()
    assert rig.bus.work[-1][1].job_id == OTHER, "whose owner has less under way"
    rig.lab.told(c.ReportBuildFailed(job_id=jobs[0], attempt=1, code="x", message="y"))
    rig.lab.told(v.CancelVerification(job_id=OTHER, owner="ada"))
    await rig.follow()
    assert rig.bus.work[-1][1].job_id == jobs[AHEAD_MAX - 1]
    assert len({message_id for message_id, _ in rig.bus.work}) == len(rig.bus.work)
    rig.lab.told(c.ReportBuildStarted(job_id=jobs[1], attempt=1, builder_id="b"))
    before = len(rig.bus.work)
    assert await rig.dispatcher.send_all() == 10  # nine builds, one of them begun, and a stage
    again = [work.job_id for _, work in rig.bus.work[before:]]
    assert again[0] == jobs[1] and len(again) == 1 + AHEAD_MAX
    assert rig.lab.world.project(PROJECT) is not None
