"""Stable codes of decided refusals, never reused for another meaning; the API maps them to HTTP in one file."""

from __future__ import annotations

from enum import StrEnum


class Rejection(StrEnum):
    """Why a command was refused."""

    FPGA_NOT_FOUND = "fpga_not_found"
    FPGA_NOT_IDLE = "fpga_not_idle"
    FPGA_NOT_RESERVED = "fpga_not_reserved"
    FPGA_NOT_RESETTABLE = "fpga_not_resettable"
    NOT_YOUR_SESSION = "not_your_session"
    NO_ACTIVE_SESSION = "no_active_session"
    JOB_NOT_FOUND = "job_not_found"
    JOB_EXISTS = "job_exists"
    JOB_NOT_CANCELLABLE = "job_not_cancellable"
    NOT_YOUR_JOB = "not_your_job"
    UNKNOWN_PROFILE = "unknown_profile"
    QUEUE_FULL = "queue_full"
    BOARD_IN_USE = "board_in_use"
    """The board can be reached, or a job waits for it, so it cannot be forgotten."""
    OWNER_LIMIT = "owner_limit"
    """The owner has as many open jobs, or boards, as one owner may have."""
    NO_SUCH_BOARD = "no_such_board"
    """No board of the lab has the labels asked for."""
    STALE_EPOCH = "stale_epoch"
    STALE_ATTEMPT = "stale_attempt"
    STALE_INCARNATION = "stale_incarnation"
    NOT_DUE = "not_due"
    KEY_EXISTS = "key_exists"
    KEY_NOT_FOUND = "key_not_found"
    WEBHOOK_EXISTS = "webhook_exists"
    WEBHOOK_NOT_FOUND = "webhook_not_found"
    TOO_MANY_WEBHOOKS = "too_many_webhooks"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    NOTHING_TO_DO = "nothing_to_do"
    UNDECIDABLE = "undecidable"
    """The scheduler itself failed on the command (a defect); the command is kept among the dead letters."""
