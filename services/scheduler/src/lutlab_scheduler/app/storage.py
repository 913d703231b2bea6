"""What each owner has stored, as the writer must know it to refuse what would be too much.

Which blobs count for whom is said by `lutlab_ledger.storage`. The writer asks the ledger once for an owner, and from
then on adds what it lets in; since it alone lets anything in, uploads side by side cannot pass the limit together.
After blobs were deleted everything is asked for anew.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from lutlab_events import commands as c
from lutlab_events import verification as v
from lutlab_events.rejections import Rejection
from lutlab_ledger.storage import told
from lutlab_scheduler.app.world import World
from lutlab_scheduler.domain.outcome import Rejected, Rules

BLOBS_REMEMBERED_MAX = 1_000_000
"""Of all owners together; owners that brought nothing for longest are forgotten first."""

Brought = Mapping[str, int | None]
"""Digest -> size in bytes, None where the command does not say."""


def brings(body: c.Command) -> Brought:
    """The blobs a command brings along."""
    match body:
        case c.SubmitBuild():
            return {body.source_digest: body.source_bytes or None}
        case c.ReportBuildSucceeded():
            return {body.bitstream.digest: body.bitstream.size_bytes}
        case v.UploadFiles():
            return {file.digest: file.size_bytes for file in body.files.values()}
        case v.SubmitVerification():
            return {body.files_digest: body.files_bytes or None}
        case v.ReportStageCompleted():
            details = body.outcome.details_digest
            found: dict[str, int | None] = {} if details is None else {details: None}
            return found | {artifact.digest: artifact.size_bytes for artifact in body.outcome.artifacts}
        case _:
            return {}


def payer(body: c.Command, world: World) -> str | None:
    """For whom counts what a command brings along; None if it brings nothing, or speaks of what nobody knows."""
    match body:
        case c.SubmitBuild() | v.CreateProject():
            return body.owner
        case c.ReportBuildSucceeded():
            job = world.job(body.job_id)
            return None if job is None else job.owner
        case v.UploadFiles() | v.SubmitVerification():
            project = world.project(body.project_id)
            return None if project is None else project.owner
        case v.ReportStageCompleted():
            verification = world.verification(body.job_id)
            return None if verification is None else verification.owner
        case _:
            return None


class Storage:
    """The blobs of the owners that were asked for lately; what is added can be taken back until it is settled."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, dict[str, int]] = OrderedDict()
        self._used: dict[str, int] = {}
        self._journal: list[tuple[str, str]] = []
        self._sizes: Mapping[str, int] = {}
        self._is_stale = False

    # -- what is known -----------------------------------------------------------------------------

    def used(self, owner: str) -> int | None:
        """How many bytes an owner has stored; None if that is not known now."""
        return self._used.get(owner)

    def more(self, owner: str, brought: Brought) -> dict[str, int]:
        """What of it the owner does not have yet, with sizes."""
        held = self._held.get(owner, {})
        return {
            digest: self._sizes.get(digest, 0) if size is None else size
            for digest, size in brought.items()
            if digest not in held
        }

    def refusal(self, owner: str, brought: Brought, rules: Rules, *, at_least: int = 0) -> Rejected | None:
        """Why an owner may not bring this along, None if it may.

        Args:
            at_least: what it counts as, if all of it is there already; 1 for jobs, which leave something behind.
        """
        used = self._used.get(owner, 0)
        more = max(at_least, sum(self.more(owner, brought).values()))
        if not more or used + more <= rules.owner_bytes_max:
            return None
        return Rejected(
            Rejection.STORAGE_FULL,
            told(owner, used_bytes=used, more_bytes=more, allowed_bytes=rules.owner_bytes_max),
        )

    # -- what changes ------------------------------------------------------------------------------

    def missing(self, owners: Iterable[str]) -> list[str]:
        """Which of these must be asked for; nothing may be waiting to be settled."""
        assert not self._journal, "storage is loaded between batches"
        if self._is_stale:
            self._is_stale = False
            self._held.clear()
            self._used.clear()
        wanted = sorted(set(owners))
        for owner in wanted:
            if owner in self._held:
                self._held.move_to_end(owner)
        return [owner for owner in wanted if owner not in self._held]

    def take_in(self, held: Mapping[str, Mapping[str, int]]) -> None:
        """What owners have, by the ledger."""
        for owner, blobs in held.items():
            self._held[owner] = dict(blobs)
            self._used[owner] = sum(blobs.values())
        left = sum(len(blobs) for blobs in self._held.values())
        while left > BLOBS_REMEMBERED_MAX and next(iter(self._held)) not in held:
            owner, blobs = self._held.popitem(last=False)
            del self._used[owner]
            left -= len(blobs)

    def learn(self, sizes: Mapping[str, int]) -> None:
        """Sizes that commands of the next batch do not say."""
        self._sizes = sizes

    def add(self, owner: str, brought: Brought) -> None:
        """The owner has this too. An owner that is not known stays so, until the ledger is asked."""
        if owner not in self._held:
            return
        for digest, size in self.more(owner, brought).items():
            self._held[owner][digest] = size
            self._used[owner] += size
            self._journal.append((owner, digest))

    def mark(self) -> int:
        """A point to which `undo` can go back, until `settle`."""
        return len(self._journal)

    def undo(self, mark: int = 0) -> None:
        """Take back everything since `mark`."""
        while len(self._journal) > mark:
            owner, digest = self._journal.pop()
            self._used[owner] -= self._held[owner].pop(digest)

    def settle(self) -> None:
        """Everything so far is stored."""
        self._journal.clear()

    def forget(self) -> None:
        """Blobs were deleted: ask for everything anew, from the next batch on."""
        self._is_stale = True


def instead(body: c.Command, world: World, storage: Storage, rules: Rules) -> c.Command:
    """The report to decide in place of one whose results its owner has no room for; mostly the same.

    The build, or the stage, then fails with `storage_full`, and nothing of what it left is kept.
    """
    if not isinstance(body, c.ReportBuildSucceeded | v.ReportStageCompleted):
        return body
    owner = payer(body, world)
    refused = None if owner is None else storage.refusal(owner, brings(body), rules)
    if refused is None:
        return body
    code, reason = refused.code.value, f"the results have no room: {refused.message}"
    if isinstance(body, c.ReportBuildSucceeded):
        return c.ReportBuildFailed(job_id=body.job_id, attempt=body.attempt, code=code, message=reason)
    outcome = v.StageOutcome(status="error", code=code, reason=reason, seconds=body.outcome.seconds)
    return v.ReportStageCompleted(job_id=body.job_id, stage=body.stage, attempt=body.attempt, outcome=outcome)
