"""What a job leaves behind, to download: its source, its bitstream, its report, its log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from lutlab_api.app.ports import Blobs
from lutlab_api.app.reads import Reads
from lutlab_api.domain.errors import Code, Missing, NotAuthenticated
from lutlab_api.domain.views import Caller, JobDetail

SOURCE, BITSTREAM, REPORT, LOG = "source", "bitstream.bit", "report.json", "build.log"
PRIVATE = frozenset({SOURCE, BITSTREAM})
"""Never public, whatever the lab's reads are: somebody's design."""
MEDIA_TYPES = {
    SOURCE: "application/octet-stream",
    BITSTREAM: "application/octet-stream",
    REPORT: "application/json",
    LOG: "text/plain; charset=utf-8",
}


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """Something to download."""

    name: str
    media_type: str
    size_bytes: int | None = None
    digest: str | None = None


@dataclass(frozen=True, kw_only=True)
class Download:
    """An artifact with its bytes; `filename` is what to store it as."""

    artifact: Artifact
    filename: str
    data: bytes


class Artifacts:
    """Lists and reads artifacts, for whoever may read their job."""

    def __init__(self, reads: Reads, blobs: Blobs) -> None:
        self._reads = reads
        self._blobs = blobs

    async def listed(self, job_text: str, caller: Caller | None) -> list[Artifact]:
        """What there is of a job. Raises: Missing, NotAllowed."""
        return _artifacts(await self._reads.detail(job_text, caller))

    async def download(self, job_text: str, name: str, caller: Caller | None) -> Download:
        """One artifact.

        Raises:
            Missing: no such job, or it has no such artifact (yet).
            NotAuthenticated, NotAllowed: it is not for this caller.
        """
        if name in PRIVATE and caller is None:
            raise NotAuthenticated(
                Code.MISSING_API_KEY, "sources and bitstreams are for their owners: send your API key"
            )
        detail = await self._reads.detail(job_text, caller)
        if caller is not None and name in PRIVATE:
            await self._reads.check_mine(detail.job, caller)
        found = {artifact.name: artifact for artifact in _artifacts(detail)}
        if name not in found:
            has = ", ".join(found) or "none yet"
            raise Missing(
                Code.ARTIFACT_NOT_FOUND,
                f"job {detail.job.job_id} has no artifact {name[:64]!r}; it has: {has}",
                details={"field": "name", "artifacts": sorted(found)},
            )
        data = await self._data(found[name], detail, caller)
        return Download(artifact=found[name], filename=_filename(name, detail), data=data)

    async def _data(self, artifact: Artifact, detail: JobDetail, caller: Caller | None) -> bytes:
        if artifact.name == REPORT:
            return msgspec.json.encode(detail.report)
        if artifact.name == LOG:
            return (await self._reads.log(str(detail.job.job_id), caller)).encode()
        assert artifact.digest is not None
        data = await self._blobs.get(artifact.digest)
        if data is None:
            raise Missing(
                Code.ARTIFACT_NOT_FOUND,
                f"{artifact.name} of job {detail.job.job_id} is not in the ledger's store (any more, or yet)",
            )
        return data


def _artifacts(detail: JobDetail) -> list[Artifact]:
    found = [Artifact(name=LOG, media_type=MEDIA_TYPES[LOG])]
    if detail.source_digest is not None:
        found.append(Artifact(name=SOURCE, media_type=MEDIA_TYPES[SOURCE], digest=detail.source_digest))
    if detail.report is not None:
        found.append(Artifact(name=REPORT, media_type=MEDIA_TYPES[REPORT]))
    if detail.bitstream is not None:
        bits = detail.bitstream
        found.append(
            Artifact(
                name=BITSTREAM,
                media_type=MEDIA_TYPES[BITSTREAM],
                size_bytes=bits.get("size_bytes"),
                digest=bits.get("digest"),
            )
        )
    return found


def _filename(name: str, detail: JobDetail) -> str:
    own: dict[str, Callable[[], str]] = {SOURCE: lambda: detail.filename or "source"}
    return own[name]() if name in own else f"{str(detail.job.job_id)[:8]}-{name}"
