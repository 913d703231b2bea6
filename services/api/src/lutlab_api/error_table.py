"""docs/errors.md, written from `lutlab_api.web.status`: `python -m lutlab_api.error_table`."""

from __future__ import annotations

import sys

from lutlab_api.domain.errors import RETRY_AFTER_S
from lutlab_api.web.errors import RETRYABLE
from lutlab_api.web.status import MEANINGS

HEAD = f"""# Error codes

Generated from `services/api/src/lutlab_api/web/status.py` by `python -m lutlab_api.error_table`; a test compares them.

Under `/api/v1` an error is

```json
{{"error": {{"code": "...", "message": "...", "details": {{"field": "...", "suggestion": "..."}}}}}}
```

and on the older routes `{{"detail": {{"error": "...", "message": "...", "job_id": "..."}}}}`. Codes are never reused
for another meaning; messages are for people and may change. `details` is an object: `field` names what is wrong,
`suggestion` the nearest valid value or name, `job_id` the job it is about.

Projects, verification jobs (`job_...`) and webhooks answer the verification contract's codes (`VALIDATION_ERROR`,
`NOT_FOUND`, `CONFLICT` ...), with the code of this table in `details.reason`; what is 422 here is 400 there, except
`tool_error`. So do paths under `/api/v1` at which there is nothing.

HEAD is answered wherever GET is, with the same status and headers.

Every 429 and 503, and the codes marked below, carry `Retry-After` ({RETRY_AFTER_S} s if nothing else is known).
A repetition with the same `Idempotency-Key` is safe.

| code | status | again later | for example |
|---|---|---|---|
"""


def table() -> str:
    """The whole document."""
    lines = []
    for code, meaning in sorted(MEANINGS.items(), key=lambda item: (int(item[1].status), str(item[0]))):
        again = "yes" if int(meaning.status) in (429, 503) or code in RETRYABLE else ""
        example = meaning.example.replace("|", "\\|")
        lines.append(f"| `{code}` | {int(meaning.status)} | {again} | {example} |\n")
    return HEAD + "".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table())
