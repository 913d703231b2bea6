"""API keys."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request, Response, status

from lutlab_api.domain.errors import Code
from lutlab_api.web.asked import Api, Asked, IdempotencyKey, Secret, address_of
from lutlab_api.web.asked import Key as Caller
from lutlab_api.web.documented import ANY, ASK, errors
from lutlab_api.web.located import Located
from lutlab_api.web.models import GithubToken, IssuedKey, Key, LoggedIn, NewKey
from lutlab_events.rejections import Rejection

ISSUE = (
    Code.VALIDATION_ERROR,
    Code.BODY_TOO_LARGE,
    Code.INVALID_EXPIRY,
    Code.ADMIN_ONLY,
    Code.TOO_MUCH_GRANTED,
    Rejection.KEY_EXISTS,
)
LOGIN = (
    Code.GITHUB_LOGIN_UNSUPPORTED,
    Code.VALIDATION_ERROR,
    Code.BODY_TOO_LARGE,
    Code.LOGIN_REFUSED,
    Code.LOGIN_NOT_ALLOWED,
    Code.LOGIN_UNAVAILABLE,
    Code.INVALID_IDEMPOTENCY_KEY,
    Rejection.IDEMPOTENCY_MISMATCH,
    Rejection.UNDECIDABLE,
    Rejection.KEY_EXISTS,
)

router = APIRouter(prefix="/auth", tags=["keys"])


@router.post(
    "/keys",
    status_code=status.HTTP_201_CREATED,
    summary="Issue an API key",
    responses=errors(*ASK, *ISSUE),
)
async def issue_key(body: NewKey, api: Api, asked: Asked, secret: Secret, location: Located) -> IssuedKey:
    """Make a key: an admin for anyone, a member for oneself. It is shown once and stored nowhere; only its SHA-256 is
    kept. A key cannot make one that may do more than itself."""
    issued = IssuedKey.of(await api.keys.issue(asked, secret or "", body.wish()))
    location.is_at(f"/api/v1/keys/{issued.key_id}")
    return issued


@router.get("/keys", summary="List API keys", responses=errors(*ASK, Code.ADMIN_ONLY))
async def list_keys(api: Api, asked: Asked) -> list[Key]:
    """The newest 1,000 keys with owner, role and label, newest first (admins only); `/api/v1/keys` has pages of all."""
    return [Key.of(key) for key in await api.keys.listed(asked)]


@router.get("/keys/me", summary="Look at your key", responses=errors(*ASK, Code.KEY_NOT_FOUND))
async def get_own_key(api: Api, caller: Caller) -> Key:
    """Whose the key is that this request was sent with, what it is good for, and until when."""
    return Key.of(await api.keys.one(caller, caller.key_id))


@router.delete(
    "/keys/me",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Revoke your key",
    responses=errors(*ASK, Rejection.KEY_NOT_FOUND, Rejection.NOTHING_TO_DO),
)
async def revoke_own_key(api: Api, asked: Asked) -> Response:
    """Make the key this request was sent with worthless, within two seconds everywhere."""
    await api.keys.revoke(asked, asked.caller.key_id)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.delete(
    "/keys/{key_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Revoke a key",
    responses=errors(*ASK, Code.VALIDATION_ERROR, Code.ADMIN_ONLY, Rejection.KEY_NOT_FOUND, Rejection.NOTHING_TO_DO),
)
async def revoke_key(key_id: UUID, api: Api, asked: Asked) -> Response:
    """Make any key worthless (admins only, except for one's own)."""
    await api.keys.revoke(asked, key_id)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.post(
    "/github/exchange",
    summary="Log in with GitHub",
    responses=errors(*ANY, *LOGIN),
)
async def exchange_github_token(
    body: GithubToken, api: Api, request: Request, idempotency_key: IdempotencyKey = None
) -> LoggedIn:
    """Exchange a GitHub token for a key of this lab, for those whom the lab lets in; the token is not kept."""
    correlation_id = request.scope["lutlab.correlation_id"]
    issued, login = await api.logins.exchange(
        body.github_token, address_of(request.scope), correlation_id, idempotency_key
    )
    return LoggedIn(
        api_key=issued.secret, github_username=login, owner=issued.wish.owner, expires_at=issued.wish.expires_at
    )
