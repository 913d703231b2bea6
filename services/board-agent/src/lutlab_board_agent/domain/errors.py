"""The agent's errors: one tree, stable codes. `code` is what the ledger and the user of the board see."""

from __future__ import annotations


class AgentError(Exception):
    """Base of everything the agent raises on purpose."""

    code = "agent_error"


class LabFileInvalid(AgentError):
    """The lab file does not say what boards there are; the message names the key, the line and the way out."""

    code = "lab_file_invalid"


class StateUnreadable(AgentError):
    """A board's state file is damaged. It is never guessed: with a lost epoch, fencing would be lost too."""

    code = "state_unreadable"


class DataDirTaken(AgentError):
    """Another agent of this host remembers its boards in the same folder."""

    code = "data_dir_taken"


class BridgePortTaken(AgentError):
    """A board's TCP bridge cannot listen at its port."""

    code = "bridge_port_taken"


class LoaderFailed(AgentError):
    """The programmer did not load the bitstream.

    Args:
        code: one of `lutlab_board_agent.domain.loader.LoaderCode`.
        message: what happened, with the loader's own last lines.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class DoorRefused(AgentError):
    """The board without hardware does not do what was asked of its pins; the message is its own."""

    code = "door_refused"


class DoorClosed(AgentError):
    """The side door of a board without hardware does not answer."""

    code = "door_closed"


class SerialUnavailable(AgentError):
    """The board's serial line cannot be opened: unplugged, in use, or not permitted; the message says which."""

    code = "serial_unavailable"


class SerialGone(AgentError):
    """The serial line ended while it was open: the board was unplugged or lost power."""

    code = "serial_gone"
