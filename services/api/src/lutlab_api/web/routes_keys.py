"""API keys."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response, status

from lutlab_api.domain.errors import Code, Invalid
from lutlab_api.web.asked import Api, Asked, Secret
from lutlab_api.web.documented import ASK, errors
from lutlab_api.web.models import GithubToken, IssuedKey, Key, NewKey
from lutlab_events.rejections import Rejection

router = APIRouter(prefix="/auth", tags=["keys"])


@router.post(
    "/keys",
    status_code=status.HTTP_201_CREATED,
    summary="Issue an API key",
    responses=errors(*ASK, Code.VALIDATION_ERROR, Code.ADMIN_ONLY, Rejection.KEY_EXISTS),
)
async def issue_key(body: NewKey, api: Api, asked: Asked, secret: Secret) -> IssuedKey:
    """Make a key for an owner (admins only). It is shown once and stored nowhere; only its SHA-256 is kept."""
    issued = await api.keys.issue(asked, secret or "", body.owner, body.role, body.label)
    return IssuedKey(
        api_key=issued.secret, key_id=issued.key_id, owner=issued.owner, role=issued.role, label=issued.label
    )


@router.get("/keys", summary="List API keys", responses=errors(*ASK, Code.ADMIN_ONLY))
async def list_keys(api: Api, asked: Asked) -> list[Key]:
    """Every key with owner, role and label, newest first (admins only)."""
    return [Key.of(key) for key in await api.keys.listed(asked)]


@router.delete(
    "/keys/me",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Revoke your key",
    responses=errors(*ASK),
)
async def revoke_own_key(api: Api, asked: Asked) -> Response:
    """Make the key this request was sent with worthless, within two seconds everywhere."""
    await api.keys.revoke(asked, asked.caller.key_id)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.delete(
    "/keys/{key_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Revoke a key",
    responses=errors(*ASK, Code.VALIDATION_ERROR, Code.ADMIN_ONLY, Rejection.KEY_NOT_FOUND),
)
async def revoke_key(key_id: UUID, api: Api, asked: Asked) -> Response:
    """Make any key worthless (admins only, except for one's own)."""
    await api.keys.revoke(asked, key_id)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.post(
    "/github/exchange",
    summary="Not offered: log in with GitHub",
    responses=errors(Code.GITHUB_LOGIN_UNSUPPORTED, Code.VALIDATION_ERROR),
)
async def exchange_github_token(body: GithubToken) -> IssuedKey:
    """The reference's `login`. This lab issues its own keys instead; the answer says how to get one."""
    raise Invalid(
        Code.GITHUB_LOGIN_UNSUPPORTED,
        "this lab issues its own keys: ask an admin for one (POST /auth/keys), pass it with --api-key or MRG_API_KEY",
    )
