"""Renders one uploaded template: the task on standard input, the report on standard output, what is wrong on standard
error with exit code 1. Runs under limits that it gives itself first; see `templates`."""

from __future__ import annotations

import json
import resource
import sys

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lutlab_verify.report.filters import FILTERS
from lutlab_verify.report.templates import CPU_S_MAX, MEMORY_BYTES_MAX, OUTPUT_BYTES_MAX


def main() -> int:
    """Render. Returns: the exit code."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S_MAX, CPU_S_MAX))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # pipes are no files: it writes to them and nothing else
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    task = json.load(sys.stdin.buffer)
    environment = ImmutableSandboxedEnvironment(autoescape=task["escape"], undefined=jinja2.StrictUndefined)
    environment.filters |= FILTERS
    environment.globals.pop("lipsum", None)
    try:
        written = 0
        for part in environment.from_string(task["template"]).generate(task["values"]):
            data = part.encode()
            written += len(data)
            if written > OUTPUT_BYTES_MAX:
                return _failed(f"more than {OUTPUT_BYTES_MAX} bytes of output")
            sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except jinja2.TemplateSyntaxError as error:
        return _failed(f"line {error.lineno}: {error.message}")
    except MemoryError:
        return _failed("needs too much memory")
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        return _failed(f"{type(error).__name__}: {error}")
    except RecursionError:
        return _failed("calls itself too deeply")
    return 0


def _failed(message: str) -> int:
    sys.stderr.write(message)
    return 1


if __name__ == "__main__":
    sys.exit(main())
