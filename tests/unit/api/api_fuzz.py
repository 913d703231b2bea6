"""Requests made from the OpenAPI document, good and bad ones, and what their answers must be."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
UNAVAILABLE = 503
"""Said of boards, schedulers and queues that are not there just now; documented, and no defect."""
HEADERS_PRESENT = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-request-id")


def operations(document: dict[str, Any]) -> Iterator[Any]:
    """Every operation of the document."""
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        yield found.ok()


def fuzz(document: dict[str, Any], base_url: str, key: Callable[[], str], examples: int, seed: int = 1) -> Counter[int]:
    """Send about `examples` requests an operation, half of them breaking the schema; counts statuses.

    Raises:
        schemathesis' FailureGroup: an answer is a server error, or not as documented.
    """
    statuses: Counter[int] = Counter()
    random.seed(seed)
    for operation in operations(document):
        for mode in GenerationMode:
            _fuzz(operation, mode, base_url, key, max(1, examples // 2), statuses)
    return statuses


def _fuzz(
    operation: Any,
    mode: GenerationMode,
    base_url: str,
    key: Callable[[], str],
    examples: int,
    statuses: Counter[int],
) -> None:
    if mode is GenerationMode.NEGATIVE and not _can_be_wrong(operation):
        return

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Case) -> None:
        answer = case.call(base_url=base_url, headers={"X-API-Key": key()})
        statuses[answer.status_code] += 1
        checks = [c for c in CHECKS if answer.status_code != UNAVAILABLE or c is not not_a_server_error]
        case.validate_response(answer, checks=checks)
        assert set(answer.headers) >= set(HEADERS_PRESENT), (operation.label, sorted(answer.headers))

    ask()


def _can_be_wrong(operation: Any) -> bool:
    """Whether the operation has anything that can be sent wrongly."""
    return any((operation.path_parameters, operation.query, operation.headers, operation.body))
