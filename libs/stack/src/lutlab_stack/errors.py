"""What can go wrong when servers are started here; every message names the culprit and the way out."""

from __future__ import annotations


class StackError(Exception):
    """Base of every error of this package."""

    code = "stack_error"


class BinariesMissing(StackError):
    """A server's program was found nowhere, or only in a version that is too old."""

    code = "binaries_missing"


class NoServiceUser(StackError):
    """Postgres refuses to run as root, and no unprivileged user was found to run it as."""

    code = "no_service_user"


class Unreachable(StackError):
    """The unprivileged user cannot reach a folder it needs."""

    code = "unreachable"


class WrongDataVersion(StackError):
    """The data directory was made by another major version of Postgres."""

    code = "wrong_data_version"


class StartFailed(StackError):
    """A server ended, or did not become ready in time; the message ends with its last log lines."""

    code = "start_failed"


class NoFreePort(StackError):
    """No port of the range is free."""

    code = "no_free_port"


class DataDirBusy(StackError):
    """Another process uses this data directory."""

    code = "data_dir_busy"


class DataDirUnusable(StackError):
    """The data directory cannot be made or written."""

    code = "data_dir_unusable"


class LabFileInvalid(StackError):
    """The lab file given to `up` declares no boards, or wrong ones."""

    code = "lab_file_invalid"
