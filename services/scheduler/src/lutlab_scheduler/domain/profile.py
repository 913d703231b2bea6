"""A device profile's base design, the one that boards are reset to.

Theory. The newest build of it is the one that counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lutlab_events import commands as c
from lutlab_events import events as e
from lutlab_events.envelope import Happened
from lutlab_events.rejections import Rejection
from lutlab_events.values import BitstreamRef
from lutlab_scheduler.domain.machine import START, Table, follow
from lutlab_scheduler.domain.outcome import Context, Rejected


class ProfileState(StrEnum):
    """Whether boards of the profile can be reset."""

    SUPPLIED = "supplied"


TRANSITIONS: Table[ProfileState] = {
    (START, e.BaseBuilt): (ProfileState.SUPPLIED,),
    (ProfileState.SUPPLIED, e.BaseBuilt): (ProfileState.SUPPLIED,),
}

Decided = list[e.ProfileEvent] | Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What the log says about one device profile."""

    profile: str
    base: BitstreamRef
    state: ProfileState
    version: int
    updated_at: datetime


def evolve(profile: Profile | None, envelope: Happened) -> Profile:
    """The profile after a recorded event. Raises: IllegalTransition."""
    event = envelope.body
    state = follow(TRANSITIONS, envelope.stream, START if profile is None else profile.state, event)
    assert isinstance(event, e.BaseBuilt)
    return Profile(
        profile=event.profile, base=event.bitstream, state=state, version=envelope.version, updated_at=envelope.at
    )


def base_built(command: c.ReportBaseBuilt, profile: Profile | None, context: Context) -> Decided:
    """Take a base design into use, unless it is the one in use."""
    if command.profile not in context.rules.profiles or command.bitstream.profile != command.profile:
        known = ", ".join(sorted(context.rules.profiles))
        return Rejected(
            Rejection.UNKNOWN_PROFILE,
            f"profile {command.profile!r} with a bitstream for {command.bitstream.profile!r}; known profiles: {known}",
        )
    if profile is not None and profile.base == command.bitstream:
        return Rejected(Rejection.NOTHING_TO_DO, f"profile {command.profile} has this base design already")
    return [e.BaseBuilt(profile=command.profile, bitstream=command.bitstream)]
