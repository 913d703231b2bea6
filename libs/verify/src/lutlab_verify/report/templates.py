"""Templates: ours, and those of people who are not trusted.

An uploaded template runs in Jinja's sandbox, which keeps it from Python's insides, and in a process of its own with
limits on time, memory and output, because a loop in a template is a loop. The process is given no environment.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from importlib import resources
from typing import Any

import jinja2

from lutlab_verify.report.filters import FILTERS

TEMPLATE_BYTES_MAX = 256 << 10
OUTPUT_BYTES_MAX = 32 << 20
CPU_S_MAX = 10
WALL_S_MAX = 20.0
MEMORY_BYTES_MAX = 1 << 30
MESSAGE_CHARS_MAX = 500


class TemplateFailed(Exception):
    """A template cannot be used; the message is Jinja's, with its line."""

    code = "template_failed"


def is_built_in(name: str, suffix: str) -> bool:
    """Whether there is a template of ours with this name for this kind of file."""
    return name.isidentifier() and (resources.files(__package__) / "built_in" / f"{name}.{suffix}.j2").is_file()


def built_in(name: str, suffix: str, values: dict[str, Any]) -> bytes:
    """A report by one of our templates."""
    return _ours().get_template(f"{name}.{suffix}.j2").render(values).encode()


@functools.cache
def _ours() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "built_in"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.ChainableUndefined,  # an engine may leave out what it does not know
        trim_blocks=True,
        keep_trailing_newline=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment


def uploaded(template: bytes, values: dict[str, Any], *, escape: bool) -> bytes:
    """A report by an uploaded template.

    Args:
        template: Jinja's language, UTF-8; it has the same values as ours and cannot include or import others.
        escape: whether values are escaped for HTML.

    Raises:
        TemplateFailed: too long, wrong, or beyond a limit.
    """
    if len(template) > TEMPLATE_BYTES_MAX:
        raise TemplateFailed(f"{len(template)} bytes; a template has at most {TEMPLATE_BYTES_MAX}")
    try:
        text = template.decode()
    except UnicodeDecodeError as error:
        raise TemplateFailed("not UTF-8 text") from error
    task = json.dumps({"template": text, "values": values, "escape": escape}, default=str).encode()
    argv = [sys.executable, "-I", "-m", f"{__package__}.child"]
    try:
        done = subprocess.run(argv, input=task, capture_output=True, timeout=WALL_S_MAX, env={}, cwd="/", check=False)
    except subprocess.TimeoutExpired as error:
        raise TemplateFailed(f"took more than {WALL_S_MAX:g} s") from error
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.decode(errors="replace").strip()[-MESSAGE_CHARS_MAX:]
    raise TemplateFailed(said if done.returncode == 1 and said else f"took more than {CPU_S_MAX} s or too much memory")
