"""API keys under /api/v1: everybody his own, admins all."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response, status

from lutlab_api.app.ports import KeyFilter
from lutlab_api.domain.errors import Code, Missing
from lutlab_api.domain.views import Caller as CallerView
from lutlab_api.web.asked import Api, Asked, Secret
from lutlab_api.web.asked import Key as Caller
from lutlab_api.web.documented import ASK, errors_v1
from lutlab_api.web.located import Located
from lutlab_api.web.models import IssuedKey, Key
from lutlab_api.web.models_v1 import Keys, NewKeyV1, RotatedKey, Rotation
from lutlab_api.web.paging import PageQuery, cursor_after, value_before
from lutlab_api.web.routes_keys import ISSUE
from lutlab_events.rejections import Rejection

ME = "me"
SORT = "created_at"
KeyId = Annotated[str, Path(description="a key's id, or `me` for the key of this request")]
MINE = (Code.ADMIN_ONLY, Rejection.KEY_NOT_FOUND)

router = APIRouter(prefix="/api/v1/keys", tags=["v1 keys"])


def _key_id(text: str, caller: CallerView) -> UUID:
    """The key meant. Raises: Missing: what is no UUID names no key."""
    if text == ME:
        return caller.key_id
    try:
        return UUID(text)
    except ValueError:
        raise Missing(Code.KEY_NOT_FOUND, f"{text[:64]!r} is no key's id; list yours with GET /api/v1/keys") from None


@router.get("", summary="List keys", responses=errors_v1(*ASK, Code.VALIDATION_ERROR, Code.INVALID_CURSOR))
async def list_keys(api: Api, caller: Caller, query: Annotated[PageQuery, Query()]) -> Keys:
    """Your keys, newest first; for an admin everybody's. The keys themselves are kept nowhere."""
    after = value_before(query.cursor, SORT)
    wanted = KeyFilter(
        owner=caller.owner,
        limit=query.per_page + 1,  # one more, to know whether there is another page
        offset=query.offset if after is None else 0,
        after=after,
    )
    found, total = await api.keys.page(caller, wanted)
    shown, following = found[: query.per_page], None
    if len(found) > len(shown):
        assert shown[-1].created_at is not None
        following = cursor_after(SORT, shown[-1].created_at, shown[-1].key_id)
    return Keys(
        keys=[Key.of(key) for key in shown],
        total=total,
        page=query.page,
        per_page=query.per_page,
        next_cursor=following,
    )


@router.post("", status_code=status.HTTP_201_CREATED, summary="Issue a key", responses=errors_v1(*ASK, *ISSUE))
async def issue_key(body: NewKeyV1, api: Api, asked: Asked, secret: Secret, location: Located) -> IssuedKey:
    """Make a key: an admin for anyone, others for themselves. It is shown once; only its SHA-256 is kept."""
    issued = IssuedKey.of(await api.keys.issue(asked, secret or "", body.wish()))
    location.is_at(f"/api/v1/keys/{issued.key_id}")
    return issued


@router.get("/{key_id}", summary="Look at a key", responses=errors_v1(*ASK, Code.KEY_NOT_FOUND))
async def get_key(key_id: KeyId, api: Api, caller: Caller) -> Key:
    """Whose a key is, what it is good for, until when, and when it was used last."""
    return Key.of(await api.keys.one(caller, _key_id(key_id, caller)))


@router.post(
    "/{key_id}/rotate",
    summary="Rotate a key",
    responses=errors_v1(
        *ASK, *MINE, Code.TOO_MUCH_GRANTED, Code.VALIDATION_ERROR, Code.BODY_TOO_LARGE, Rejection.KEY_EXISTS
    ),
)
async def rotate_key(key_id: KeyId, api: Api, asked: Asked, secret: Secret, body: Rotation | None = None) -> RotatedKey:
    """Give a key another secret; the present one works for `grace_s` more seconds."""
    grace_s = 0 if body is None else body.grace_s
    return RotatedKey.of(await api.keys.rotate(asked, secret or "", _key_id(key_id, asked.caller), grace_s))


@router.delete(
    "/{key_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Revoke a key",
    responses=errors_v1(*ASK, *MINE, Rejection.NOTHING_TO_DO),
)
async def revoke_key(key_id: KeyId, api: Api, asked: Asked) -> Response:
    """Make a key worthless, everywhere within two seconds."""
    await api.keys.revoke(asked, _key_id(key_id, asked.caller))
    return Response(status_code=status.HTTP_204_NO_CONTENT)
