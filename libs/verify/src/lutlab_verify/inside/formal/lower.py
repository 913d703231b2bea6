"""Rewrites properties in a design as plain Verilog, and prints the design twice: for the model and for replays.

Every property gets a number; its check is labelled `lutlab_p<number>` (or known by its line and column, where a loop
would give one label to several checks), the antecedent of an implication is a cover `lutlab_v<number>`.

A check looks at values just before the clock edge, as sampled values are. `disable iff` is looked at there, too.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from lutlab_verify.inside.formal.actions import changing
from lutlab_verify.inside.formal.attempts import Attempts
from lutlab_verify.inside.formal.emit import REPLAY, Place, Print
from lutlab_verify.inside.formal.history import SAMPLED, Expressions, Helpers, Twins, is_sampled
from lutlab_verify.inside.formal.refuse import Refused
from lutlab_verify.inside.formal.sequences import Names, Reader
from lutlab_verify.inside.formal.sva import TooLarge
from lutlab_verify.inside.formal.syntax import Node, Places, brief, is_token, kind, nodes, text, tokens, under

PROPERTIES_MAX = 5000
INIT_ATTRIBUTE = "lutlab_init"
MODULES = ("ModuleDeclaration", "InterfaceDeclaration", "ProgramDeclaration")
REPEATED = {
    "ForLoopStatement", "ForeachLoopStatement", "LoopStatement", "DoWhileStatement", "ForeverStatement",
    "FunctionDeclaration", "TaskDeclaration",
}  # fmt: skip
"""Where one check of the sources may become several of the model, which cannot share a label."""
WITHIN = (
    "Statement", "Expression", "Block", "PropertyDeclaration", "SequenceDeclaration", "FunctionDeclaration",
    "TaskDeclaration",
)  # fmt: skip
"""What has declarations of its own, or none."""
CONDITIONS = {"ConditionalStatement", "CaseStatement"}
IMMEDIATE = {
    "ImmediateAssertStatement": "assert",
    "ImmediateAssumeStatement": "assume",
    "ImmediateCoverStatement": "cover",
}
CONCURRENT = {
    "AssertPropertyStatement": "assert", "AssumePropertyStatement": "assume", "CoverPropertyStatement": "cover",
    "RestrictPropertyStatement": "assume",
}  # fmt: skip
REFUSED = {
    "CoverSequenceStatement": "cover sequence", "ExpectPropertyStatement": "expect",
    "CheckerDeclaration": "checker", "CheckerInstantiation": "checker", "CheckerInstanceStatement": "checker",
}  # fmt: skip


@dataclass
class Property:
    """One property of the sources.

    Attributes:
        number: in the order of the sources.
        kind: assert, assume, cover.
        label: what the user calls it, "" if nothing.
        file, line: where it stands.
        text: its beginning, for people.
        conditional: it has an antecedent, whose cover is `lutlab_v<number>`.
        printed: line and column of its check in the print.
        once: it is looked at in the first step only.
    """

    number: int
    kind: str
    label: str
    file: str
    line: int
    text: str
    conditional: bool = False
    printed: tuple[int, int] = (0, 0)
    once: bool = False

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass
class Scope:
    """What surrounds a node: the module's declarations and defaults, and the procedure it is in."""

    names: Names
    clock: Node | None = None
    disable: Node | None = None
    procedure: Node | None = None
    helpers: Helpers | None = None
    loop: bool = False
    initial: list[tuple[str, str]] = field(default_factory=list)


class Lowering:
    """Walks one syntax tree. After `run`, `model` and `replay` hold the prints, `properties` what was found."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self.model = Print()
        self.replay = Print()
        self.properties: list[Property] = []
        self._helpers_made = 0
        self._last_macro = False
        self._bound: dict[str, list[Node]] = {}

    def run(self, root: Node) -> None:
        """Print everything. Raises: Refused."""
        for node in root if kind(root) == "CompilationUnit" else [root]:
            if node is not None and not is_token(node):
                self._collect_bound(node)
        self._walk(root, self._scope_of(root, None))

    # -- the walk

    def _walk(self, node: Node, scope: Scope) -> None:
        if is_token(node):
            self._token(node)
            return
        name = kind(node)
        if name in REFUSED:
            raise self._places.unsupported(node, f"`{REFUSED[name]}`")
        handler = _HANDLERS.get(name)
        if handler is not None:
            handler(self, node, scope)
            return
        if name == "PackageDeclaration":
            scope = self._scope_of(node, scope)
        elif name in REPEATED:
            scope = Scope(scope.names, scope.clock, scope.disable, scope.procedure, scope.helpers, True, scope.initial)
        self._children(node, scope)

    def _children(self, node: Node, scope: Scope) -> None:
        for child in node:
            if child is not None:
                self._walk(child, scope)

    def _token(self, token: Node) -> None:
        if token.isMissing or not token.rawText:
            return
        macro = self._places.from_macro(token)
        glued = not (macro or self._last_macro or any(True for _ in token.trivia))
        self._last_macro = macro
        place = self._places.of(token)
        for out in (self.model, self.replay):
            out.move(place)
            out.write(token.rawText, glued=glued)

    def _source(self, node: Node) -> str:
        """A node as in the source, on one line."""
        parts = []
        for token in tokens(node):
            parts += [" "] * (self._places.from_macro(token) or any(True for _ in token.trivia))
            parts.append(token.rawText)
        return "".join(parts).strip()

    def _write(self, place: Place, twins: Twins) -> tuple[int, int]:
        """Write one piece at a place; returns where it starts in the model's print."""
        self._last_macro = True  # a space before what follows
        self.replay.move(place)
        self.replay.write(twins.replay)
        self.model.move(place)
        return self.model.write(twins.model)

    # -- what surrounds properties

    def _scope_of(self, node: Node, outer: Scope | None) -> Scope:
        """Declarations and defaults in a module or generate block; for the root, outside of modules and in packages.

        Defaults hold in what is inside, too, and a signal hides a property of the same name outside (IEEE 1800-2017,
        14.12, 16.15 and 23.9).
        """
        declared = dict(outer.names.declared) if outer else {}
        clock, disable = (outer.clock, outer.disable) if outer else (None, None)
        found = self._declarations(node, packages=outer is None)
        for below in found if outer else ():
            if kind(below) == "Declarator":
                declared.pop(below.name.valueText, None)
        for below in found:
            match kind(below):
                case "PropertyDeclaration" | "SequenceDeclaration":
                    declared[below.name.valueText] = below
                case "ClockingDeclaration" if text(below.globalOrDefault) == "default":
                    clock = below.event
                case "DefaultDisableDeclaration":
                    disable = below.expr
        return Scope(Names(declared), clock, disable)

    def _declarations(self, node: Node, *, packages: bool) -> list[Node]:
        found = []
        for child in node:
            if child is None or is_token(child) or kind(child) in MODULES:
                continue
            if kind(child) == "PackageDeclaration" and not packages:
                continue
            found.append(child)
            if not kind(child).endswith(WITHIN):
                found += self._declarations(child, packages=packages)
        return found

    def _generate_block(self, node: Node, scope: Scope) -> None:
        self._children(node, self._scope_of(node, scope))

    def _drop(self, node: Node, _scope: Scope) -> None:
        """Declarations of properties and defaults: whoever uses them has them already."""

    def _clocking(self, node: Node, scope: Scope) -> None:
        if not (is_token(node.globalOrDefault) and node.globalOrDefault.rawText == "default"):
            self._children(node, scope)

    def _clocking_reference(self, node: Node, _scope: Scope) -> None:
        raise self._places.unsupported(node, "`default clocking` that names a clocking block")

    def _data(self, node: Node, scope: Scope) -> None:
        """A variable that may be any value: of nobody's variable the front end reads `x`, of nobody's net the net."""
        attributes = text(node.attributes)
        free = "anyconst" in attributes or "anyseq" in attributes
        for child in node:
            if free and child is not None and not is_token(child) and kind(child) == kind(node.type):
                head, _, rest = text(child).partition(" ")
                net = f"wire logic {rest}" if head in ("reg", "logic", "bit") else f"wire {head} {rest}"
                self._write(self._places.of(child), Twins(net, f"{head} {rest}"))
            elif child is not None:
                self._walk(child, scope)

    # -- bound modules

    def _collect_bound(self, node: Node) -> None:
        for child in [node, *(one for one in node if one is not None and not is_token(one))]:
            if kind(child) == "BindDirective" and child.targetInstances is None:
                self._bound.setdefault(text(child.target), []).append(child.instantiation)

    def _bind(self, node: Node, scope: Scope) -> None:
        """Icarus knows no `bind`: in replays the instance stands in the module itself."""
        if node.targetInstances is not None:
            self._children(node, scope)
            return
        place = self._places.of(node)
        self._write(place, Twins(self._source(node), ""))

    def _module(self, node: Node, scope: Scope) -> None:
        inner = self._scope_of(node, scope)
        bound = self._bound.get(node.header.name.valueText, [])
        for child in node:
            if child is None:
                continue
            if is_token(child) and child.rawText == "endmodule":
                for instantiation in bound:
                    self._write(self._places.of(child), Twins("", self._source(instantiation)))
            self._walk(child, inner)

    # -- concurrent assertions

    def _concurrent_member(self, node: Node, scope: Scope) -> None:
        statement = node.statement
        if kind(statement) in REFUSED:
            raise self._places.unsupported(statement, f"`{REFUSED[kind(statement)]}`")
        self._action(statement.action)
        helpers = self._helpers(None)
        booleans: dict[str, tuple[int, Twins]] = {}
        expressions = Expressions(self._places, helpers, lambda call: scope.names.find(call) is not None)

        def boolean(expression: Node) -> int:
            key = text(expression)
            if key not in booleans:
                booleans[key] = (len(booleans), expressions.truth(expression))
            return booleans[key][0]

        reader = Reader(self._places, scope.names, boolean)
        spec = reader.spec(statement.propertySpec)
        helpers.clock = self._clock(spec.clock if spec.clock is not None else scope.clock, statement)
        implication = reader.implication(spec.body)
        disable = spec.disable if spec.disable is not None else scope.disable
        off = Twins.same("1'b0") if disable is None else expressions.truth(disable)
        property_ = self._new(statement, CONCURRENT[kind(statement)], brief(spec.body), implication.conditional)
        if property_.kind == "cover" and implication.conditional:
            raise self._places.unsupported(spec.body, "an implication in a cover")
        attempts = Attempts(helpers, property_.number, implication, [one for _, one in booleans.values()], off)
        self._emit_concurrent(statement, property_, attempts)

    def _emit_concurrent(self, node: Node, property_: Property, attempts: Attempts) -> None:
        place = self._places.of(node)
        try:
            condition = attempts.covered() if property_.kind == "cover" else f"!{attempts.violated()}"
        except TooLarge as error:
            raise self._places.unsupported(node, f"a property this large ({error})") from error
        reached = attempts.reached() if attempts.conditional and property_.kind == "assert" else None
        self._write(place, attempts.before())
        self._write(place, Twins.same(f"always {attempts.clock} begin"))
        property_.printed = self._write(
            place, self._check(property_, Twins.same(condition), labelled=True, clocked=True)
        )
        if reached is not None:
            self._write(place, Twins(f"lutlab_v{property_.number}: cover ({reached});", ""))
        self._write(place, Twins.same("end"))

    def _clock(self, event: Node | None, node: Node) -> str:
        """An event control of one edge of one signal, as text."""
        if event is None:
            raise self._places.unsupported(node, "a property without a clock")
        inner = event.expr if kind(event) == "EventControlWithExpression" else event
        while kind(inner) == "ParenthesizedEventExpression":
            inner = inner.expr
        if kind(inner) != "SignalEventExpression" or inner.iffClause is not None:
            raise self._places.unsupported(event, f"the clock `{text(event)}`")
        if text(inner.edge) not in ("posedge", "negedge"):
            raise self._places.unsupported(event, f"the clock `{text(event)}`, which names no edge,")
        return f"@({text(inner)})"

    def _concurrent_in_procedure(self, node: Node, _scope: Scope) -> None:
        raise self._places.unsupported(node, f"`{text(node.keyword)} property` in procedural code")

    # -- immediate assertions

    def _procedure(self, node: Node, scope: Scope) -> None:
        """An `always` or `initial` block: helpers of the properties in it go before it."""
        keyword = node.keyword.rawText
        helpers = self._helpers(self._procedure_clock(node, scope))
        inner = Scope(scope.names, scope.clock, scope.disable, node, helpers)
        late = keyword == "final" or (keyword == "initial" and self._waits(node))
        if late and self._has_immediate(node):
            raise self._places.unsupported(node, f"an assertion in `{keyword}` that waits or ends a simulation")
        if self._has_immediate(node) and self._uses_history(node):
            self._look_ahead(node, scope, helpers)
            self._write(self._places.of(node), helpers.text())
        self._children(node, inner)
        for piece in inner.initial:
            self._write(self._places.of(node), Twins(*piece))

    def _procedure_clock(self, node: Node, scope: Scope) -> str | None:
        statement = node.statement
        if kind(statement) == "TimingControlStatement":
            control = statement.timingControl
            if kind(control) == "EventControlWithExpression":
                with contextlib.suppress(Refused):
                    return self._clock(control, node)
                return None
        return self._clock(scope.clock, node) if scope.clock is not None else None

    @staticmethod
    def _has_immediate(node: Node) -> bool:
        return any(kind(below) in IMMEDIATE for below in nodes(node))

    @staticmethod
    def _waits(node: Node) -> bool:
        return any("Timing" in kind(below) or kind(below).startswith("Wait") for below in nodes(node))

    @staticmethod
    def _uses_history(node: Node) -> bool:
        return any(token.rawText in SAMPLED for token in tokens(node))

    def _look_ahead(self, node: Node, scope: Scope, helpers: Helpers) -> None:
        """Find what a procedure's helpers must be before any of them is used."""
        probe = Expressions(self._places, helpers, lambda call: scope.names.find(call) is not None)
        for below in nodes(node):
            if kind(below) in IMMEDIATE:
                _known(IMMEDIATE[kind(below)], probe.truth(below.expr), helpers)
            elif is_sampled(below) and not under(below, REPEATED):
                probe.plain(below)

    def _call(self, node: Node, scope: Scope) -> None:
        """A past value in a procedure with assertions, beside them: in a condition, say."""
        procedure = scope.procedure
        ours = is_sampled(node) and not scope.loop  # in loops the front end knows better what it is the past of
        if procedure is None or scope.helpers is None or not (ours and self._has_immediate(procedure)):
            self._children(node, scope)
            return
        self._write(self._places.of(node), Expressions(self._places, scope.helpers, lambda _call: False).plain(node))

    def _immediate(self, node: Node, scope: Scope) -> None:
        self._action(node.action)
        procedure = scope.procedure
        if procedure is not None and procedure.keyword.rawText == "initial":
            self._at_start(node, scope)
            return
        property_ = self._new(node, IMMEDIATE[kind(node)], brief(node.expr.expression))
        helpers = scope.helpers or self._helpers(None)
        plain = _known(
            property_.kind, Expressions(self._places, helpers, lambda _call: False).truth(node.expr), helpers
        )
        labelled = procedure is not None and not scope.loop
        property_.conditional = labelled and property_.kind == "assert" and under(node, CONDITIONS)
        check = self._check(property_, plain, labelled=labelled, clocked=_clocked(procedure))
        place = self._places.of(node)
        if not property_.conditional:
            property_.printed = self._write(place, check)
            return
        before = f"begin lutlab_v{property_.number}: cover (1'b1);"
        property_.printed = self._write(place, Twins(f"{before} {check.model} end", check.replay))

    def _immediate_member(self, node: Node, scope: Scope) -> None:
        """A deferred assertion among the items of a module: it holds whenever values have settled."""
        helpers = self._helpers(self._clock(scope.clock, node) if scope.clock is not None else None)
        statement = node.statement
        condition = Expressions(self._places, helpers, lambda _call: False).truth(statement.expr)
        self._action(statement.action)
        property_ = self._new(statement, IMMEDIATE[kind(statement)], brief(statement.expr.expression))
        condition = _known(property_.kind, condition, helpers)
        place = self._places.of(node)
        self._write(place, helpers.text())
        self._write(place, Twins.same("always @* begin"))
        property_.printed = self._write(place, self._check(property_, condition, labelled=True, clocked=False))
        self._write(place, Twins.same("end"))

    def _at_start(self, node: Node, scope: Scope) -> None:
        """In `initial`: a property of the first step."""
        above = node.parent
        while above is not None and kind(above) in ("SequentialBlockStatement", "SyntaxList"):
            above = above.parent
        if above is None or kind(above) != "InitialBlock":
            raise self._places.unsupported(node, "an assertion under a condition or loop in `initial`")
        property_ = self._new(node, IMMEDIATE[kind(node)], brief(node.expr.expression))
        property_.once = True
        helpers = scope.helpers or self._helpers(None)
        condition = Expressions(self._places, helpers, lambda _call: False).truth(node.expr)
        condition = _known(property_.kind, condition, helpers)
        first = f"lutlab_first_{property_.number}"
        check = self._check(property_, condition, labelled=True, clocked=False)
        model = f"(* {INIT_ATTRIBUTE} *) wire {first}; always @* if ({first}) begin {check.model} end"
        replay = f"wire {first} = {REPLAY}.first; always @* if ({first}) begin {check.replay} end"
        scope.initial.append((model, replay))
        self._write(self._places.of(node), Twins.same("begin end"))

    # -- shared

    @staticmethod
    def _check(property_: Property, condition: Twins, *, labelled: bool, clocked: bool) -> Twins:
        """The statement that checks a condition: at a clock edge, or whenever values have settled."""
        model = f"{property_.kind} ({condition.model});"
        if labelled:  # the front end loses the label of the only statement of a procedure
            model = f"begin ; lutlab_p{property_.number}: {model} end"
        if property_.kind != "assert":
            return Twins(model, "begin end")
        place = f"{property_.file}:{property_.line}"
        said = f'$display("lutlab: %m: {_quoted(property_.label or property_.text)} failed, {_quoted(place)}");'
        end = f"if ({REPLAY}.target == {property_.number}) {REPLAY}.failed = 1;"
        when = f"{REPLAY}.ticking" if clocked else f"{REPLAY}.settled"
        replay = f"if ({when} && ({condition.replay}) !== 1'b1) begin {said} {end} end"
        return Twins(model, f"begin {replay} end")

    def _action(self, action: Node) -> None:
        """What a property does when it passes or fails: messages change nothing, anything else is refused."""
        part = changing(action)
        if part is not None:
            raise self._places.unsupported(part, f"`{text(part).removesuffix(' ;')}` in what a property does")

    def _new(self, node: Node, what: str, said: str, conditional: bool = False) -> Property:
        if len(self.properties) >= PROPERTIES_MAX:
            raise self._places.unsupported(node, f"a project with more than {PROPERTIES_MAX} properties")
        place = self._places.of(node)
        label = node.label.name.valueText if node.label is not None else ""
        property_ = Property(len(self.properties), what, label, place.file, place.line, said, conditional)
        self.properties.append(property_)
        return property_

    def _helpers(self, clock: str | None) -> Helpers:
        self._helpers_made += 1
        return Helpers(f"lutlab_x{self._helpers_made}_", clock)


def _known(what: str, condition: Twins, helpers: Helpers) -> Twins:
    """A cover's condition, with what it looks back at; others as they are."""
    if what != "cover" or not condition.back:
        return condition
    return Twins(f"({condition.model}) && {helpers.seen(condition.back)}", condition.replay, condition.back)


def _clocked(procedure: Node | None) -> bool:
    """Whether a procedure waits for an edge."""
    if procedure is None or kind(procedure.statement) != "TimingControlStatement":
        return False
    return any(token.rawText in ("posedge", "negedge") for token in tokens(procedure.statement.timingControl))


def _quoted(said: str) -> str:
    return re.sub(r'["\\%\n]', "'", said)


_HANDLERS: dict[str, Callable[[Lowering, Node, Scope], None]] = {
    **dict.fromkeys(MODULES, Lowering._module),
    "BindDirective": Lowering._bind,
    "DataDeclaration": Lowering._data,
    "GenerateBlock": Lowering._generate_block,
    "InvocationExpression": Lowering._call,
    "ConcurrentAssertionMember": Lowering._concurrent_member,
    "ImmediateAssertionMember": Lowering._immediate_member,
    "PropertyDeclaration": Lowering._drop,
    "SequenceDeclaration": Lowering._drop,
    "DefaultDisableDeclaration": Lowering._drop,
    "ClockingDeclaration": Lowering._clocking,
    "DefaultClockingReference": Lowering._clocking_reference,
    **dict.fromkeys(("AlwaysBlock", "AlwaysFFBlock", "AlwaysCombBlock", "AlwaysLatchBlock"), Lowering._procedure),
    **dict.fromkeys(("InitialBlock", "FinalBlock"), Lowering._procedure),
    **dict.fromkeys(CONCURRENT, Lowering._concurrent_in_procedure),
    **dict.fromkeys(IMMEDIATE, Lowering._immediate),
}
