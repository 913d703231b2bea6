"""Files to download: named in the browser, conditional, and never shown as a page."""

from __future__ import annotations

import re
from urllib.parse import quote

from fastapi import Response

from lutlab_api.web.polling import PRIVATE, Poll, tag_of

UNSAFE = re.compile(r"[^A-Za-z0-9_.+@=, ()-]")
"""What a quoted file name cannot have, or what clients do not agree about."""


def headers_of(filename: str) -> dict[str, str]:
    """What every download says of itself. A name beyond ASCII is told twice, as RFC 6266 has it."""
    plain = UNSAFE.sub("_", filename)
    told = f'attachment; filename="{plain}"'
    if plain != filename:
        told += f"; filename*=UTF-8''{quote(filename, safe='', errors='replace')}"
    return {"Content-Disposition": told, "X-Content-Type-Options": "nosniff"}


def download(data: bytes, media_type: str, filename: str, poll: Poll) -> Response:
    """200 with the file, or 304 where the client has it."""
    headers = {"ETag": tag_of(data), **PRIVATE, **headers_of(filename)}
    if poll.has(data):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=media_type, headers=headers)
