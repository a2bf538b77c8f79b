"""Findings as SARIF 2.1.0, the format of code scanning. What is required and allowed is in the standard of OASIS."""

from collections.abc import Sequence
from typing import Any

from toolkit.stack.lint.report import Report, Told
from toolkit.stack.lint.rule import Rule, Severity

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}


def log(report: Report, rules: Sequence[Rule], *, version: str) -> dict[str, Any]:
    """Return the SARIF log of one report, as plain values for JSON."""
    order = {rule.id: place for place, rule in enumerate(rules)}
    driver = {"name": "toolkit lint", "version": version, "rules": [_rule(rule) for rule in rules]}
    results = [_result(one, order[one.rule]) for one in (*report.findings, *report.accepted)]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.reason},
        "help": {"text": rule.fix},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
    }


def _result(told: Told, place: int) -> dict[str, Any]:
    about = f"{told.service}: " if told.service else ""
    result: dict[str, Any] = {
        "ruleId": told.rule,
        "ruleIndex": place,
        "level": _LEVELS[told.severity],
        "message": {"text": f"{about}{told.message}. {told.fix}"},
    }
    if told.file:
        region = {"region": {"startLine": told.line}} if told.line else {}
        result["locations"] = [{"physicalLocation": {"artifactLocation": {"uri": _uri(told.file)}, **region}}]
    if told.reason:
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": told.reason}]
    return result


def _uri(file: str) -> str:
    from urllib.parse import quote

    return ("file://" if file.startswith("/") else "") + quote(file)
