"""Converge: facts that are asked for together, operations that name a wanted state, changes that are values."""

from toolkit.converge.changes import Change, Check, Fed, Operation, Operations, operation
from toolkit.converge.engine import Outcome, Step, apply, plan
from toolkit.converge.facts import Fact, Facts, Together, Unknown, Unreadable

__all__ = [
    "Change", "Check", "Fact", "Facts", "Fed", "Operation", "Operations", "Outcome", "Step", "Together", "Unknown",
    "Unreadable", "apply", "operation", "plan",
]  # fmt: skip
