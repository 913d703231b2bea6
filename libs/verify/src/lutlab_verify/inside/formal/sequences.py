"""From the syntax of properties and sequences to words; whatever is not understood is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lutlab_verify.inside.formal.sva import EMPTY, Implication, TooLarge, Word, joined
from lutlab_verify.inside.formal.syntax import Node, Places, kind, text

DELAY_MAX = 4096
STEPS_MAX = 20_000


@dataclass(frozen=True)
class Spec:
    """A property with its clock and its disable condition; the last two as syntax, None if it has none."""

    clock: Node | None
    disable: Node | None
    body: Node


@dataclass
class Names:
    """Declarations of properties and sequences that can be seen from somewhere."""

    declared: dict[str, Node]

    def find(self, node: Node) -> Node | None:
        """The declaration that an expression names, None if it is an ordinary expression."""
        while kind(node) == "ParenthesizedExpression":
            node = node.expression
        if kind(node) == "InvocationExpression":
            node = node.left
        return self.declared.get(node.identifier.valueText) if kind(node) == "IdentifierName" else None


class Reader:
    """Reads one property: `boolean` numbers the booleans it meets."""

    def __init__(self, places: Places, names: Names, boolean: Callable[[Node], int]) -> None:
        self._places = places
        self._names = names
        self._boolean = boolean
        self._depth = 0

    def spec(self, node: Node) -> Spec:
        """Clock, disable condition and body of a `PropertySpec`, through the names of properties."""
        spec = Spec(node.clocking, node.disable.expr if node.disable is not None else None, node.expr)
        while (declaration := self._named(spec.body, "PropertyDeclaration")) is not None:
            self._enter(spec.body)
            inner = declaration.propertySpec
            if inner.clocking is not None and spec.clock is not None and text(inner.clocking) != text(spec.clock):
                raise self._places.unsupported(inner.clocking, "a second clock in one property")
            if inner.disable is not None and spec.disable is not None:
                raise self._places.unsupported(inner.disable, "a second `disable iff` in one property")
            spec = Spec(
                spec.clock if inner.clocking is None else inner.clocking,
                spec.disable if inner.disable is None else inner.disable.expr,
                inner.expr,
            )
        return spec

    def implication(self, node: Node) -> Implication:
        """A property's body. Raises: Refused."""
        try:
            return self._implication(node)
        except (TooLarge, RecursionError) as error:
            raise self._places.unsupported(node, f"a property this large ({error})") from error

    def _implication(self, node: Node) -> Implication:
        self._enter(node)
        if kind(node) == "ParenthesizedPropertyExpr":
            self._refuse(node.matchList)
            return self._implication(node.expr)
        declaration = self._named(node, "PropertyDeclaration")
        if declaration is not None:
            inner = declaration.propertySpec
            if inner.clocking is not None or inner.disable is not None:
                raise self._places.unsupported(inner, "a named property with its own clock inside of another one")
            return self._implication(inner.expr)
        if kind(node) != "ImplicationPropertyExpr":
            return Implication((EMPTY,), 0, tuple(self._property_sequence(node)), conditional=False)
        gap = 1 if node.op.rawText == "|=>" else 0
        antecedent = self._property_sequence(node.left)
        rest = self._implication(node.right)
        if not rest.conditional:
            return Implication(tuple(antecedent), gap, rest.consequent, conditional=True)
        both = joined(antecedent, range(gap, gap + 1), rest.antecedent)  # a |=> (b |-> c) is (a ##1 b) |-> c
        return replace(rest, antecedent=tuple(both))

    def _property_sequence(self, node: Node) -> list[Word]:
        """The words of a property that is just a sequence."""
        while kind(node) == "ParenthesizedPropertyExpr":
            self._refuse(node.matchList)
            node = node.expr
        if kind(node) != "SimplePropertyExpr":
            raise self._places.unsupported(node)
        return self._sequence(node.expr)

    def _sequence(self, node: Node) -> list[Word]:
        self._enter(node)
        match kind(node):
            case "SimpleSequenceExpr":
                self._refuse(node.repetition)
                return self._simple(node.expr)
            case "ParenthesizedSequenceExpr":
                self._refuse(node.matchList, node.repetition)
                return self._sequence(node.expr)
            case "DelayedSequenceExpr":
                words = [EMPTY] if node.first is None else self._sequence(node.first)
                for element in node.elements:
                    words = joined(words, self._delays(element), self._sequence(element.expr))
                return words
        raise self._places.unsupported(node)

    def _simple(self, node: Node) -> list[Word]:
        declaration = self._names.find(node)
        if declaration is None:
            return [Word(0, frozenset({(0, self._boolean(node))}))]
        if kind(declaration) == "PropertyDeclaration":
            raise self._places.unsupported(node, f"the property `{text(node)}` inside of a sequence")
        self._no_arguments(node, declaration)
        if kind(declaration.seqExpr) == "ClockingSequenceExpr":
            raise self._places.unsupported(declaration.seqExpr, "a clock inside a sequence")
        return self._sequence(declaration.seqExpr)

    def _delays(self, element: Node) -> range:
        if element.delayVal is not None:
            low = high = self._number(element.delayVal)
        elif element.range is not None and kind(element.range) == "SimpleRangeSelect":
            low, high = self._number(element.range.left), self._number(element.range.right)
        else:
            raise self._places.unsupported(element)
        if low > high:
            raise self._places.unsupported(element, f"the range `##[{low}:{high}]`, which is empty,")
        return range(low, high + 1)

    def _number(self, node: Node) -> int:
        while kind(node) == "ParenthesizedExpression":
            node = node.expression
        value = text(node)
        if kind(node) == "WildcardLiteralExpression":
            raise self._places.unsupported(node, "the unbounded range `$`")
        if kind(node) != "IntegerLiteralExpression" or not value.replace("_", "").isdecimal():
            raise self._places.unsupported(node, f"the delay `{value}`, which is no plain number,")
        if int(value) > DELAY_MAX:
            raise self._places.unsupported(node, f"a delay above {DELAY_MAX} (`{value}`)")
        return int(value)

    def _named(self, node: Node, wanted: str) -> Node | None:
        """The declaration a property's body names, if it is of the wanted kind."""
        if kind(node) != "SimplePropertyExpr" or kind(node.expr) != "SimpleSequenceExpr":
            return None
        declaration = self._names.find(node.expr.expr)
        if declaration is None or kind(declaration) != wanted:
            return None
        self._refuse(node.expr.repetition)
        self._no_arguments(node.expr.expr, declaration)
        return declaration

    def _no_arguments(self, use: Node, declaration: Node) -> None:
        if declaration.portList is not None or kind(use) == "InvocationExpression":
            raise self._places.unsupported(use, f"`{text(use)}`, a property or sequence with arguments,")
        if any(True for _ in declaration.variables):
            raise self._places.unsupported(declaration.variables[0], "a local variable of a property or sequence")

    def _refuse(self, *parts: Node | None) -> None:
        for part in parts:
            if part is not None:
                raise self._places.unsupported(part)

    def _enter(self, node: Node) -> None:
        self._depth += 1
        if self._depth > STEPS_MAX:
            raise self._places.unsupported(node, "a property that names itself, or one of this size,")
