"""Helper registers: past values for `$past` and its kin, and past booleans for sequences.

A value before the first clock tick is left open: a property that looks back too early fails, as it would in simulation,
where it would be unknown. What is unknown reaches no cover either: a cover waits until what it looks back at is there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lutlab_verify.inside.formal.syntax import Node, Places, is_token, kind, text

PAST_MAX = 1024
SAMPLED = {"$past", "$rose", "$fell", "$stable", "$changed", "$sampled"}
CLOSE = {"IntegerVectorExpression", "CastExpression", "SignedCastExpression"}
"""What some tools want written without spaces."""
REFUSED = {
    "$past_gclk", "$rose_gclk", "$fell_gclk", "$stable_gclk", "$changed_gclk", "$future_gclk", "$rising_gclk",
    "$falling_gclk", "$steady_gclk", "$changing_gclk", "$global_clock", "$inferred_clock", "$inferred_disable",
}  # fmt: skip


def is_sampled(node: Node) -> bool:
    """Whether it is a call of one of these functions."""
    return kind(node) == "InvocationExpression" and text(node.left) in SAMPLED


@dataclass
class Twins:
    """One piece of text for the model and for simulation, where the two differ.

    Attributes:
        model, replay: the text for each.
        back: how many ticks it looks back.
    """

    model: str
    replay: str
    back: int = 0

    @classmethod
    def same(cls, both: str) -> Twins:
        """The same for both."""
        return cls(both, both)


@dataclass
class Helpers:
    """Declarations and clocked assignments that go before what uses them.

    Attributes:
        prefix: of every name made here; unique in the project.
        clock: the event control, as text.
    """

    prefix: str
    clock: str | None
    declarations: list[Twins] = field(default_factory=list)
    clocked: list[str] = field(default_factory=list)
    _seen: int = 0
    _chains: dict[str, list[str]] = field(default_factory=dict)

    def past(self, expression: Twins, ticks: int) -> str:
        """The name of what an expression was `ticks` ticks ago, with its type."""
        chain = self._chains.setdefault(expression.model, [])
        stem = f"{self.prefix}q{list(self._chains).index(expression.model)}_"
        while len(chain) < ticks:
            name = f"{stem}{len(chain) + 1}"
            # Icarus knows no `type()`, and its `$bits` is wrong at times: replays get types from the elaborated design.
            self.declarations.append(Twins(f"var type({expression.model}) {name};", f"reg `{stem}type {name};"))
            self.clocked.append(f"{name} <= {chain[-1] if chain else expression.model};")
            chain.append(name)
        return chain[ticks - 1]

    def seen(self, ticks: int) -> str:
        """One bit: there were so many ticks before this one. To be asked for before `text`."""
        self._seen = max(self._seen, ticks)
        return f"{self.prefix}seen[{ticks - 1}]"

    def text(self) -> Twins:
        """All of it: declarations, then one clocked block."""
        declarations, clocked = list(self.declarations), list(self.clocked)
        if self._seen:
            declarations.append(Twins.same(f"reg [{self._seen - 1}:0] {self.prefix}seen = 0;"))
            clocked.append(f"{self.prefix}seen <= {{{self.prefix}seen, 1'b1}};")
        block = f"always {self.clock} begin {' '.join(clocked)} end" if clocked else ""
        return Twins(
            " ".join([*(one.model for one in declarations), block]),
            " ".join([*(one.replay for one in declarations), block]),
        )


class Expressions:
    """Prints expressions, sampled value functions replaced."""

    def __init__(self, places: Places, helpers: Helpers, sequence_named: Callable[[Node], bool]) -> None:
        self._places = places
        self._helpers = helpers
        self._sequence_named = sequence_named

    def plain(self, node: Node) -> Twins:
        """An expression as text. Raises: Refused."""
        if is_token(node):
            return Twins.same("" if node.isMissing else node.rawText)
        if kind(node) == "InvocationExpression":
            call = self._call(node)
            if call is not None:
                return call
        if kind(node) == "SystemName" and text(node) in SAMPLED:
            return self._sampled(text(node), [], node)
        if kind(node) == "SystemName" and text(node) in REFUSED:
            raise self._places.unsupported(node, f"`{text(node)}`")
        parts = [self.plain(child) for child in node if child is not None]
        back = max((part.back for part in parts), default=0)
        if kind(node) in CLOSE:
            return Twins("".join(part.model for part in parts), "".join(part.replay for part in parts), back)
        return Twins(
            " ".join(part.model for part in parts if part.model),
            " ".join(part.replay for part in parts if part.replay),
            back,
        )

    def truth(self, node: Node) -> Twins:
        """One bit: the expression is true, which unknown is not."""
        plain = self.plain(node)
        return Twins(f"(|({plain.model}))", f"((|({plain.replay})) === 1'b1)", plain.back)

    def _call(self, node: Node) -> Twins | None:
        if self._sequence_named(node):
            raise self._places.unsupported(node, f"`{text(node)}`, a property or sequence with arguments,")
        name = text(node.left)
        if kind(node.left) == "ScopedName" and name.rpartition(" ")[2] in ("triggered", "matched"):
            raise self._places.unsupported(node, f"`{name}`")
        if name not in SAMPLED:
            return None
        arguments = [] if node.arguments is None else [one for one in node.arguments.parameters if not is_token(one)]
        return self._sampled(name, arguments, node)

    def _sampled(self, name: str, arguments: list[Node], node: Node) -> Twins:
        most = 2 if name == "$past" else 1
        if not 1 <= len(arguments) <= most or any(kind(one) != "OrderedArgument" for one in arguments):
            raise self._places.unsupported(node, f"`{text(node)}` with other arguments than the expression")
        if name == "$sampled":
            return self._wrapped(self.plain(arguments[0]))
        if self._helpers.clock is None:
            raise self._places.unsupported(node, f"`{name}` where no clock is known")
        value = self._wrapped(self.plain(arguments[0]))
        if name == "$past":
            ticks = self._ticks(arguments, node)
            past = self._helpers.past(value, ticks)
            return Twins(past, past, value.back + ticks)
        if name in ("$stable", "$changed"):
            before = self._helpers.past(value, 1)
            equal, same = ("==", "===") if name == "$stable" else ("!=", "!==")
            return Twins(f"({value.model} {equal} {before})", f"({value.replay} {same} {before})", value.back + 1)
        bit = Twins(f"(({value.model} & 1'b1) != 0)", f"(({value.replay} & 1'b1) != 0)")
        before = f"(({self._helpers.past(value, 1)} & 1'b1) != 0)"
        if name == "$rose":
            model, replay = f"({bit.model} && !{before})", f"(({bit.replay} === 1'b1) && ({before} !== 1'b1))"
        else:
            model, replay = f"(!{bit.model} && {before})", f"(({bit.replay} === 1'b0) && ({before} !== 1'b0))"
        return Twins(model, replay, value.back + 1)

    def _ticks(self, arguments: list[Node], node: Node) -> int:
        if len(arguments) == 1:
            return 1
        value = text(arguments[1])
        if not value.isdecimal() or not 1 <= int(value) <= PAST_MAX:
            raise self._places.unsupported(
                node, f"`{text(node)}`: ticks other than a plain number from 1 to {PAST_MAX}"
            )
        return int(value)

    @staticmethod
    def _wrapped(twins: Twins) -> Twins:
        return Twins(f"({twins.model})", f"({twins.replay})", twins.back)
