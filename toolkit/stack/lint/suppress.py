"""Findings that were looked at and accepted: by rule and service, each with a reason."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from toolkit.config.models import Suppression
from toolkit.stack.lint.model import Model
from toolkit.stack.lint.rule import Found, Rule

STALE = Rule(
    "stale-suppression",
    "warning",
    "A suppression that fits nothing hides a spelling mistake, or the next fault that it happens to fit.",
    "Take it out, or correct the rule's id or the service's name.",
    # What is stale shows only once everything else was found.
    lambda _model: iter(()),
    whole=True,
)


@dataclass(frozen=True)
class Finding:
    """One broken rule in one place; `reason` is why it is accepted, empty where it is not."""

    rule: Rule
    found: Found
    reason: str = ""


def judge(model: Model, rules: Sequence[Rule], suppressions: Sequence[Suppression]) -> list[Finding]:
    """Return every finding, with the reason of the suppression that fits it, and the suppressions that fit none."""
    used: set[int] = set()
    findings = []
    for rule in rules:
        for found in rule.find(model):
            fitting = [place for place, one in enumerate(suppressions) if _fits(one, rule, found)]
            used.update(fitting)
            findings.append(Finding(rule, found, suppressions[fitting[0]].reason if fitting else ""))
    known = {rule.id for rule in rules}
    unused = [one for place, one in enumerate(suppressions) if place not in used]
    return findings + [Finding(STALE, found) for found in _stale(model, unused, known)]


def _fits(suppression: Suppression, rule: Rule, found: Found) -> bool:
    return suppression.rule == rule.id and suppression.service in (None, found.service)


def _stale(model: Model, unused: Sequence[Suppression], known: set[str]) -> Iterator[Found]:
    for one in unused:
        about = f"{one.rule}{f' of {one.service}' if one.service else ''}"
        if one.rule not in known:
            why = "there is no such rule"
        elif one.service and one.service not in model.services:
            why = "there is no such service"
        else:
            why = "it fits nothing"
        yield Found(f"{about} is suppressed: {why}", keys=("lint",))
