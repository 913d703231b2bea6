"""What the elaborate program answers: untrusted, because the design's code ran in the same process."""

from __future__ import annotations

import msgspec

from lutlab_builder.domain.errors import BuildFailure, Code

ADDRESS_BITS_MAX = 24


class Elaboration(msgspec.Struct, frozen=True):
    """A design was elaborated.

    Attributes:
        target: the class or module that was built.
        address_words: size of its address space in 32-bit words.
    """

    target: str
    address_words: int


class _Answer(msgspec.Struct):
    ok: bool
    target: str = ""
    address_words: int = 0
    code: str = ""
    message: str = ""


_DESIGN_CODES = frozenset(
    {
        Code.SYNTAX_ERROR,
        Code.DESIGN_RAISED,
        Code.NO_TARGET,
        Code.AMBIGUOUS_TARGET,
        Code.UNKNOWN_TOP,
        Code.WRONG_PORTS,
        Code.MEMORY_LIMIT,
        Code.PROCESS_LIMIT,
        Code.FILE_LIMIT,
        Code.BAD_TOOL_OUTPUT,
    }
)
"""Failures the elaborate program may report; anything else counts as the design's own error."""


def parse_elaboration(data: bytes) -> Elaboration | None:
    """The program's answer; None if it gave none.

    Raises:
        BuildFailure: the answer says what is wrong with the design, or is no answer.
    """
    if not data:
        return None
    try:
        answer = msgspec.json.decode(data, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BuildFailure(Code.BAD_TOOL_OUTPUT, "the elaborated design's description is not understood") from None
    if not answer.ok:
        code = Code(answer.code) if answer.code in _DESIGN_CODES else Code.DESIGN_RAISED
        raise BuildFailure(code, answer.message)
    if answer.address_words not in {1 << bits for bits in range(1, ADDRESS_BITS_MAX + 1)}:
        raise BuildFailure(Code.BAD_TOOL_OUTPUT, f"the design has {answer.address_words} words of addresses")
    return Elaboration(answer.target[:200], answer.address_words)
