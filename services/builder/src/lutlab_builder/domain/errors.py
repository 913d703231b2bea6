"""Why a build failed: one exception, one table of stable codes."""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """Stable codes of build failures. Never renamed, never reused."""

    # -- the upload
    EMPTY_FILE = "empty_file"
    UNSUPPORTED_SUFFIX = "unsupported_suffix"
    SOURCE_TOO_LARGE = "source_too_large"
    NOT_TEXT = "not_text"
    BAD_ZIP = "bad_zip"
    ZIP_TOO_LARGE = "zip_too_large"
    ZIP_TOO_MANY_FILES = "zip_too_many_files"
    ZIP_EXPANDS_TOO_LARGE = "zip_expands_too_large"
    ZIP_BAD_NAME = "zip_bad_name"
    ZIP_BAD_ENTRY = "zip_bad_entry"
    BAD_MANIFEST = "bad_manifest"
    # -- the options
    INVALID_SYS_CLK_FREQ = "invalid_sys_clk_freq"
    INVALID_TIMING_TARGET = "invalid_timing_target"
    INVALID_TOP = "invalid_top"
    UNKNOWN_PROFILE = "unknown_profile"
    SOURCE_MISSING = "source_missing"
    # -- the design
    SYNTAX_ERROR = "syntax_error"
    DESIGN_RAISED = "design_raised"
    DESIGN_CRASHED = "design_crashed"
    NO_TARGET = "no_target"
    AMBIGUOUS_TARGET = "ambiguous_target"
    UNKNOWN_TOP = "unknown_top"
    WRONG_PORTS = "wrong_ports"
    VERILOG_ERROR = "verilog_error"
    # -- the tools
    SYNTHESIS_FAILED = "synthesis_failed"
    FORBIDDEN_CELL = "forbidden_cell"
    DOES_NOT_FIT = "does_not_fit"
    PLACE_AND_ROUTE_FAILED = "place_and_route_failed"
    PACK_FAILED = "pack_failed"
    BAD_TOOL_OUTPUT = "bad_tool_output"
    # -- the sandbox
    TIME_LIMIT = "time_limit"
    MEMORY_LIMIT = "memory_limit"
    PROCESS_LIMIT = "process_limit"
    FILE_LIMIT = "file_limit"
    SANDBOX_UNAVAILABLE = "sandbox_unavailable"
    # -- the builder
    TRANSIT_FULL = "transit_full"
    INTERNAL_ERROR = "internal_error"


MESSAGE_CHARS_MAX = 4000
"""A failure's message is cut to this many characters."""


class BuildFailure(Exception):
    """A build did not yield a bitstream.

    Attributes:
        code: a stable `Code`.
        message: a sentence for the design's author, with the tool's own words, file and line where there are any.
        stage: `elaborate`, `synthesize`, `place-and-route` or `pack`; None before the first of them.
    """

    def __init__(self, code: Code, message: str, stage: str | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        # The ledger's text holds no NUL, and a message may quote the design: its report would be refused.
        self.message = message.replace("\0", "\ufffd")[:MESSAGE_CHARS_MAX]
        self.stage = stage

    def at(self, stage: str) -> BuildFailure:
        """The same failure, placed in `stage` if it has none yet."""
        return self if self.stage else BuildFailure(self.code, self.message, stage)
