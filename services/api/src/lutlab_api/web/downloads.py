"""How a download is to be saved, said so that every name arrives whole and none leaves its header."""

from __future__ import annotations

import re
from urllib.parse import quote

_NOT_PLAIN = re.compile(r'[^\x20-\x7e]|["\\]')


def attachment(filename: str) -> str:
    """The Content-Disposition of a file to save under this name (RFC 6266): headers carry ASCII, so that other names
    are sent a second time, in UTF-8."""
    plain = _NOT_PLAIN.sub("_", filename)
    told = f'attachment; filename="{plain}"'
    return told if plain == filename else f"{told}; filename*=UTF-8''{quote(filename, safe='', errors='replace')}"
