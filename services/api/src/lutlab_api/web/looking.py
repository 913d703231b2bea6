"""The key of whatever stays open is looked at again: it may be revoked, or expire, in the middle."""

from __future__ import annotations

import asyncio

from starlette.requests import HTTPConnection

from lutlab_api.app.auth import require_scope
from lutlab_api.domain.errors import ApiError, NotAllowed, NotAuthenticated
from lutlab_api.web.asked import address_of, secret_in, services_of
from lutlab_events.values import Scope

KEY_LOOK_S = 10.0
"""Between two looks."""


async def refusal_of(connection: HTTPConnection, scope: Scope) -> ApiError | None:
    """Why an open connection may not go on: its key is no longer good. None while it is, or while nobody can tell."""
    try:  # not by what `identify` remembers of the beginning
        authenticator = services_of(connection).authenticator
        caller = await authenticator.caller(secret_in(connection.headers), address_of(connection.scope))
        require_scope(caller, scope)
    except (NotAuthenticated, NotAllowed) as error:
        return error
    except ApiError:
        return None
    return None


async def until_refused(connection: HTTPConnection, scope: Scope) -> ApiError:
    """Wait until the key of a connection is no longer good; why it is not."""
    while True:
        await asyncio.sleep(KEY_LOOK_S)
        refused = await refusal_of(connection, scope)
        if refused is not None:
            return refused
