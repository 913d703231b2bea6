"""What properties do when they pass or fail: messages are left out; nothing else may stand there."""

from __future__ import annotations

from lutlab_verify.inside.formal.syntax import Node, kind, nodes, text

MESSAGES = {"$error", "$warning", "$info", "$fatal", "$display", "$write", "$strobe", "$monitor"}
CHANGING = (
    "AssignmentExpression", "crementExpression", "TriggerStatement", "ProceduralAssignStatement",
    "ProceduralDeassignStatement", "ForceStatement", "ReleaseStatement", "JumpStatement", "ReturnStatement",
    "DisableStatement", "DisableForkStatement",
)  # fmt: skip
"""Ends of the names of kinds of syntax."""


def changing(action: Node) -> Node | None:
    """The first part of an action that may change something, or do more than print; None if there is none."""
    return next((below for below in nodes(action) if _changes(below)), None)


def _changes(node: Node) -> bool:
    if kind(node) == "ExpressionStatement":
        called = node.expr.left if kind(node.expr) == "InvocationExpression" else node.expr
        return text(called) not in MESSAGES
    if kind(node) == "InvocationExpression":  # in what a message says: functions of the system only look
        return not text(node.left).startswith("$")
    return kind(node).endswith(CHANGING)
