"""What a builder can be told."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from lutlab_builder.settings import ID_CHARS_MAX, RUN_CHARS, Settings
from lutlab_events.subjects import builder_heartbeat


def test_a_builders_name_leaves_room_for_what_every_run_adds_to_it() -> None:
    longest = Settings(id="x" * ID_CHARS_MAX)
    assert builder_heartbeat(longest.site, f"{longest.id}-{'0' * RUN_CHARS}")
    with pytest.raises(ValidationError, match=f"at most {ID_CHARS_MAX} characters"):
        Settings(id="x" * (ID_CHARS_MAX + 1))


@pytest.mark.parametrize("name", ["", "a.b", "main\n", "*", "ä"])
def test_what_cannot_stand_in_a_subject_is_no_site(name: str) -> None:
    with pytest.raises(ValidationError, match="letters, digits"):
        Settings(site=name)
