"""Lint: what is wrong with a stack before it is deployed. Rules are values over the model that Compose resolves."""

from toolkit.stack.lint.rule import SEVERITIES, Found, Rule, Severity
from toolkit.stack.lint.rules import RULES
from toolkit.stack.lint.suppress import Finding, judge

__all__ = ["RULES", "SEVERITIES", "Finding", "Found", "Rule", "Severity", "judge"]
