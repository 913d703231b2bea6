"""Pages for people: the lab itself, and /docs and /redoc. All of it is served from here, nothing from a CDN."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
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

LAB_POLICY = "; ".join(
    ["default-src 'self'", "img-src 'self' data:", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"]
)
"""The lab's own page holds a key, so no line of a program in it runs unless it came as a file from here."""
LAB_PAGE = "index.html"
LAB_FILES = {LAB_PAGE: "text/html", "lab.css": "text/css"} | dict.fromkeys(
    ("lab.js", "server.js", "words.js"), "text/javascript"
)

router = APIRouter(include_in_schema=False)


def _page(page: HTMLResponse) -> Response:
    page.headers["Content-Security-Policy"] = POLICY
    return page


def _below(request: Request) -> str:
    """The path this application is mounted under, where a proxy says so."""
    return str(request.scope.get("root_path", "")).rstrip("/")


@router.get("/")
async def front(request: Request) -> Response:
    """Whoever opens the address that `lutlab up` prints sees the lab."""
    return RedirectResponse(f"{_below(request)}/lab")


@router.get("/lab")
async def lab(request: Request) -> Response:
    """The lab at work: its boards, queue and log, and a design of one's own."""
    answer = _file(LAB_PAGE, LAB_FILES, _lab_file, request)
    answer.headers["Content-Security-Policy"] = LAB_POLICY
    return answer


@router.get("/lab/{name}")
async def lab_file(name: str, request: Request) -> Response:
    """What the lab's page consists of."""
    return _file(name, LAB_FILES, _lab_file, request)


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
    return _file(name, ASSETS, _asset, request, "public, max-age=86400")


def _file(
    name: str,
    known: dict[str, str],
    read: Callable[[str], tuple[bytes, str]],
    request: Request,
    kept: str = "no-cache",  # that is: asked for each time, and sent again only if it changed
) -> Response:
    if name not in known:
        raise Missing(Code.NOT_FOUND, f"there is no {name[:64]!r} here; see /docs")
    data, tag = read(name)
    headers = {"ETag": tag, "Cache-Control": kept}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=known[name], headers=headers)


@cache
def _asset(name: str) -> tuple[bytes, str]:
    return _tagged((files("fastapi_offline") / "static" / name).read_bytes())


@cache
def _lab_file(name: str) -> tuple[bytes, str]:
    return _tagged((files("lutlab_api.web") / "lab" / name).read_bytes())


def _tagged(data: bytes) -> tuple[bytes, str]:
    return data, f'"{hashlib.sha256(data).hexdigest()[:32]}"'
