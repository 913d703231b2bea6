"""What routes need to know about a request: who asks, with which ids, on which services."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Header, Path, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import Scope

from lutlab_api.app.asking import Request as AppRequest
from lutlab_api.app.auth import require_scope
from lutlab_api.domain.errors import ApiError, Code, NotAuthenticated
from lutlab_api.domain.hosts import may_be_asked_as
from lutlab_api.domain.views import Caller
from lutlab_api.web.services import Services
from lutlab_events.values import Scope as KeyScope

FPGA_ID_MAX = 9999
IDENTITY = "lutlab.identity"
"""Where a request's scope keeps who asks."""
_api_key = APIKeyHeader(name="X-API-Key", auto_error=False, description="your API key")
_bearer = HTTPBearer(auto_error=False, description="your API key, for clients that cannot set X-API-Key")


def services_of(connection: HTTPConnection) -> Services:
    """The services of the running application."""
    services = connection.app.state.services
    assert isinstance(services, Services)
    return services


def secret_in(headers: Headers) -> str | None:
    """The API key a connection brings, for connections that FastAPI's security classes do not read (WebSockets)."""
    key = headers.get("x-api-key")
    if key:
        return key
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


# Dependencies are coroutines even where they wait for nothing: FastAPI would run a plain function in a thread.


async def _services(request: Request) -> Services:
    return services_of(request)


async def _secret(
    key: Annotated[str | None, Depends(_api_key)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> str | None:
    return key or (bearer.credentials if bearer else None)


def address_of(scope: Scope) -> str:
    """Where a connection comes from."""
    client = scope.get("client")
    return str(client[0]) if client else ""


async def identify(scope: Scope, secret: str | None) -> Caller | ApiError:
    """Who asks, or why that is not known; looked up once a request."""
    known: Caller | ApiError | None = scope.get(IDENTITY)
    if known is None:
        services: Services = scope["app"].state.services
        try:
            if not secret and services.authenticator.nobody is not None:
                _refuse_strange_pages(Headers(scope=scope), services.settings.open_names)
            known = await services.authenticator.caller(secret, address_of(scope))
        except ApiError as error:
            known = error
        scope[IDENTITY] = known
    return known


def whose(scope: Scope) -> str:
    """Whose request it is, as far as it was looked at: an owner's, or an address's."""
    found = scope.get(IDENTITY)
    return f"owner:{found.owner}" if isinstance(found, Caller) else f"address:{address_of(scope)}"


def _refuse_strange_pages(headers: Headers, names: Collection[str]) -> None:
    """Where no key is asked for, pages of other sites, which a browser here shows, must not act. Raises: ApiError."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("host"):
        raise NotAuthenticated(
            Code.MISSING_API_KEY, f"a page of {origin[:80]!r} asks; pages of other sites need an API key"
        )
    host = headers.get("host", "")
    if not may_be_asked_as(host, names):
        raise NotAuthenticated(
            Code.MISSING_API_KEY,
            f"{host[:80]!r} may be another site's name for this machine: ask at its address, send an API key, or have "
            "the lab's operator add the name to LUTLAB_OPEN_HOSTS",
        )


def may_be_nobody(services: Services, secret: str | None) -> bool:
    """Whether a reader need not be known, and is not."""
    return secret is None and services.settings.public_reads and services.authenticator.nobody is None


async def _caller(secret: Annotated[str | None, Depends(_secret)], request: Request) -> Caller:
    found = await identify(request.scope, secret)
    if isinstance(found, ApiError):
        raise found
    return found


async def _reading(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
    require_scope(caller, KeyScope.READ)
    return caller


async def _reader(secret: Annotated[str | None, Depends(_secret)], request: Request) -> Caller | None:
    """Who reads; None for nobody in particular, where reads are public. A wrong key is refused even there."""
    if may_be_nobody(services_of(request), secret):
        return None
    return await _reading(await _caller(secret, request))


async def reader_of(request: Request) -> Caller | None:
    """Who reads, for routes that are polled: without FastAPI's dependencies, which cost more than the answer.

    Such a route declares `openapi_extra=POLLED` (`lutlab_api.web.polling`), so that the document is the same.
    """
    return await _reader(secret_in(request.headers), request)


IdempotencyKey = Annotated[
    str | None,
    Header(
        description="makes repeating this request safe: the same key with the same request is carried out once and "
        "answered the same. A UUID will do",
        examples=["3f0e5c0a-58a9-4c55-9f0a-0d8f1d7f2b11"],
    ),
]


def _asked(scope: KeyScope | None) -> Callable[..., Awaitable[AppRequest]]:
    async def asked(
        caller: Annotated[Caller, Depends(_caller)], request: Request, idempotency_key: IdempotencyKey = None
    ) -> AppRequest:
        if scope is not None:
            require_scope(caller, scope)
        return AppRequest(
            caller=caller,
            correlation_id=request.scope["lutlab.correlation_id"],
            action=f"{request.method} {request.url.path}",
            idempotency_key=idempotency_key,
        )

    return asked


Api = Annotated[Services, Depends(_services)]
Secret = Annotated[str | None, Depends(_secret)]
Key = Annotated[Caller, Depends(_caller)]
"""Whoever has a key, whatever it is good for."""
Reading = Annotated[Caller, Depends(_reading)]
Reader = Annotated[Caller | None, Depends(_reader)]
Asked = Annotated[AppRequest, Depends(_asked(None))]
Submitting = Annotated[AppRequest, Depends(_asked(KeyScope.SUBMIT))]
Running = Annotated[AppRequest, Depends(_asked(KeyScope.RUN))]
FpgaId = Annotated[int, Path(ge=0, le=FPGA_ID_MAX, description="the board's number", examples=[3])]
JobId = Annotated[str, Path(description="the job's id, as submitting answered it")]
