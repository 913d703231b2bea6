"""Whoever waits is more patient than whom he waits for: no service gives up on another that still has time."""

from __future__ import annotations

from lutlab.client import CAPTURE_TIMEOUT_S
from lutlab_api.app import pins
from lutlab_api.settings import Settings as ApiSettings
from lutlab_api.web.models_pins import CaptureBody
from lutlab_board_agent.adapters import door, nats_io
from lutlab_board_agent.app import bus_lane
from lutlab_scheduler.app.postponed import LOAD_WAITS, WORK_WAITS
from lutlab_scheduler.settings import Settings as SchedulerSettings


def test_a_caller_waits_for_all_that_an_agent_may_take() -> None:
    longest_s = bus_lane.QUEUED_S_MAX + bus_lane.LINK_WAIT_S + bus_lane.EXECUTE_TIMEOUT_S
    assert longest_s + 1 <= ApiSettings.model_fields["bus_timeout_s"].default


def test_a_recording_may_wait_for_its_trigger() -> None:
    trigger_s = CaptureBody(cycles=1, wait_s=30).wait_s
    assert trigger_s < door.TIMEOUT_S < pins.CAPTURE_TIMEOUT_S < trigger_s + CAPTURE_TIMEOUT_S


def test_an_agent_is_lost_only_after_several_heartbeats() -> None:
    assert SchedulerSettings.model_fields["agent_lease_s"].default >= 3 * nats_io.HEARTBEAT_S


def test_work_that_waits_for_room_fails_before_its_deadline_does() -> None:
    assert LOAD_WAITS.total_seconds() < SchedulerSettings.model_fields["program_deadline_s"].default
    assert WORK_WAITS.total_seconds() < SchedulerSettings.model_fields["build_deadline_s"].default
