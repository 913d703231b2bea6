"""/docs and /redoc for networks without internet: their programs come from a wheel, not from a CDN."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from lutlab_api.domain.errors import Code, Missing

ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "redoc.standalone.js": "text/javascript",
    "favicon.png": "image/png",
}
POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline'",  # both pages start their program with a line of their own
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "worker-src blob:",  # ReDoc searches in one
        "frame-ancestors 'none'",
    ]
)
"""Browsers load nothing from elsewhere, whatever the programs ask for."""

router = APIRouter(include_in_schema=False)


def _page(page: HTMLResponse) -> Response:
    page.headers["Content-Security-Policy"] = POLICY
    return page


def _below(request: Request) -> str:
    """The path this application is mounted under, where a proxy says so."""
    return str(request.scope.get("root_path", "")).rstrip("/")


@router.get("/")
async def front(request: Request) -> Response:
    """Whoever opens the address that `lutlab up` prints sees what can be asked for."""
    return RedirectResponse(f"{_below(request)}/docs")


@router.get("/docs")
async def swagger_ui(request: Request) -> Response:
    """The API to try out: Swagger UI."""
    below = _below(request)
    return _page(
        get_swagger_ui_html(
            openapi_url=f"{below}/openapi.json",
            title="lutlab",
            swagger_js_url=f"{below}/docs/assets/swagger-ui-bundle.js",
            swagger_css_url=f"{below}/docs/assets/swagger-ui.css",
            swagger_favicon_url=f"{below}/docs/assets/favicon.png",
        )
    )


@router.get("/redoc")
async def redoc(request: Request) -> Response:
    """The API to read: ReDoc."""
    below = _below(request)
    return _page(
        get_redoc_html(
            openapi_url=f"{below}/openapi.json",
            title="lutlab",
            redoc_js_url=f"{below}/docs/assets/redoc.standalone.js",
            redoc_favicon_url=f"{below}/docs/assets/favicon.png",
            with_google_fonts=False,
        )
    )


@router.get("/docs/assets/{name}")
async def asset(name: str, request: Request) -> Response:
    """A program, a style sheet or a picture of the two pages."""
    if name not in ASSETS:
        raise Missing(Code.NOT_FOUND, f"there is no {name[:64]!r} here; see /docs")
    data, tag = _asset(name)
    headers = {"ETag": tag, "Cache-Control": "public, max-age=86400"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=ASSETS[name], headers=headers)


@cache
def _asset(name: str) -> tuple[bytes, str]:
    data = (files("fastapi_offline") / "static" / name).read_bytes()
    return data, f'"{hashlib.sha256(data).hexdigest()[:32]}"'
