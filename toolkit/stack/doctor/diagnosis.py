"""Diagnosis: every rule over the evidence, most likely first; and what could not be told."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from toolkit.stack.doctor.evidence import Evidence
from toolkit.stack.doctor.rule import Found, Rule, Severity
from toolkit.stack.doctor.rules import RULES

_ORDER: tuple[Severity, ...] = ("error", "warning", "info")
_IDLE = {
    "a",
    "an",
    "and",
    "are",
    "at",
    "do",
    "does",
    "for",
    "in",
    "is",
    "it",
    "never",
    "no",
    "not",
    "of",
    "on",
    "the",
    "to",
}


@dataclass(frozen=True)
class Finding:
    """One likely cause, complete."""

    rule: str
    severity: Severity
    service: str
    cause: str
    seen: tuple[str, ...]
    fix: str


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong, most likely first. `untold` says what nobody can tell, and why."""

    host: str
    stack: str
    findings: tuple[Finding, ...]
    untold: tuple[str, ...]
    fits: bool = False
    """Whether the first of them is known to show the symptom that was named."""

    @property
    def good(self) -> bool:
        """Whether nothing was found that needs somebody; notes do not count."""
        return all(one.severity == "info" for one in self.findings)


def diagnose(evidence: Evidence, symptom: str = "", rules: Sequence[Rule] = RULES) -> Diagnosis:
    """Return what the rules find. A rule that the evidence trips is told as such, and the others go on."""
    ranked, untold = [], list(_untold(evidence))
    for number, rule in enumerate(rules):
        try:
            for found in rule.find(evidence):
                ranked.append((_rank(rule, found, symptom, number), _finding(rule, found)))
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            untold.append(f"{rule.id}: the evidence has another form than expected ({type(error).__name__}: {error})")
    ranked.sort(key=lambda pair: pair[0])
    findings = tuple(dict.fromkeys(one for _, one in ranked))
    fits = bool(ranked) and ranked[0][0][0] < 0
    return Diagnosis(evidence.host, evidence.wanted.stack, findings, tuple(untold), fits)


def _finding(rule: Rule, found: Found) -> Finding:
    severity = found.severity or rule.severity
    return Finding(rule.id, severity, found.service, found.cause, tuple(one for one in found.seen if one), found.fix)


def _rank(rule: Rule, found: Found, symptom: str, number: int) -> tuple[float, int, int, int]:
    """Return what to sort by: the symptom, errors before notes, how likely it is the root of the rest, the page."""
    severity = found.severity or rule.severity
    return -fit(rule, found, symptom), _ORDER.index(severity), -rule.weight, number


def fit(rule: Rule, found: Found, symptom: str) -> float:
    """Return how well a rule's symptoms fit what a person said, from 0 to 1: the share of words in the best of them."""
    said = _words(symptom)
    if not said:
        return 0.0
    best = max(len(said & _words(one)) / len(said) for one in (*rule.symptoms, rule.id.replace("-", " ")))
    named = 0.5 if found.service and found.service.lower() in symptom.lower() else 0.0
    # Steps of a quarter: among those that fit about as well, likelihood decides.
    return round(4 * min(1.0, best + named)) / 4


def _words(text: str) -> frozenset[str]:
    found = re.findall(r"[a-z0-9]+", text.lower())
    return frozenset(word.rstrip("s") for word in found if word not in _IDLE)


_PLAIN = {
    "inspected": "how services are",
    "firewall": "whether the firewall is as it should be",
    "secrets": "whether secrets are in place",
    "clock": "whether the clock is kept",
    "killed": "whether the kernel killed something for memory",
    "units": "which units failed",
    "names": "whether names have addresses",
    "events": "which containers ended lately",
    "backups": "how backups are",
    "probes": "whether the stack's probes pass",
}


def _untold(evidence: Evidence) -> Iterator[str]:
    if evidence.sections and not evidence.docker and "docker" in evidence.sections:
        yield "how services, databases, queues and certificates are: Docker does not answer"
    for name in evidence.sections:
        fault = evidence.fault(name)
        if fault and name != "docker" and not (name == "secrets" and not evidence.get("agent", {"": ""})):
            yield f"{_PLAIN.get(name, name)}: {fault}"
