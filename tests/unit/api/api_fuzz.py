"""Requests made from the OpenAPI document, good and bad ones, and what their answers must be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
UNAVAILABLE = 503
"""Said of boards, schedulers and queues that are not there just now; documented, and no defect."""
ENDLESS = {"GET /api/v1/events/stream": 6}
"""Operations that answer for ever, and how many requests they get: each is listened to until a time-out."""
HEADERS_PRESENT = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-request-id")


def operations(document: dict[str, Any]) -> Iterator[Any]:
    """Every operation of the document."""
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        yield found.ok()


@dataclass
class Fuzz:
    """Where requests go, and what came of them.

    Attributes:
        key: an API key that works; asked for again after requests about keys, which may have revoked or rotated it.
        known: path parameter -> values that exist; every other request uses one of them.
    """

    base_url: str
    key: Callable[[], str]
    known: Callable[[], Mapping[str, Sequence[object]]]
    statuses: Counter[int] = field(default_factory=Counter)
    session: requests.Session = field(default_factory=requests.Session)

    def run(self, document: dict[str, Any], examples: int, only: str = "") -> None:
        """Send about `examples` requests an operation with a part of `only` in its label, half of them wrong ones.

        Raises:
            BaseExceptionGroup: an answer is a server error, or not as documented; the first of each operation.
        """
        problems: list[BaseException] = []
        with self.session:
            for operation in operations(document):
                if not any(part in operation.label for part in only.split(",")):
                    continue
                known, examples_here = self.known(), ENDLESS.get(operation.label, examples)
                for mode in GenerationMode:
                    if mode is GenerationMode.POSITIVE or _can_be_wrong(operation):
                        try:
                            self._fuzz(operation, mode, max(1, examples_here // 2), known)
                        except (Exception, FailureGroup) as error:
                            problems.append(error)
        if problems:
            raise BaseExceptionGroup(f"{len(problems)} wrong answers", problems)

    def _fuzz(self, operation: Any, mode: GenerationMode, examples: int, known: Mapping[str, Sequence[object]]) -> None:
        is_about_keys = "/keys" in operation.label
        secret = self.key()
        usable = {name: values for name, values in known.items() if values and f"{{{name}}}" in operation.path}
        chosen = st.tuples(st.booleans(), st.fixed_dictionaries({n: st.sampled_from(v) for n, v in usable.items()}))

        @given(case=operation.as_strategy(generation_mode=mode), choice=chosen)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: Case, choice: tuple[bool, dict[str, object]]) -> None:
            if choice[0] and usable:
                case.path_parameters = {**(case.path_parameters or {}), **choice[1]}
            key = self.key() if is_about_keys else secret
            answer = case.call(base_url=self.base_url, headers={"X-API-Key": key}, session=self.session)
            self.statuses[answer.status_code] += 1
            checks = [c for c in CHECKS if answer.status_code != UNAVAILABLE or c is not not_a_server_error]
            case.validate_response(answer, checks=checks)
            assert set(answer.headers) >= set(HEADERS_PRESENT), (operation.label, sorted(answer.headers))

        ask()


def _can_be_wrong(operation: Any) -> bool:
    """Whether the operation has anything that can be sent wrongly."""
    return any((operation.path_parameters, operation.query, operation.headers, operation.body))
