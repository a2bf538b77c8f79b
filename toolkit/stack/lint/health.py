"""Rules about health checks: that there is one, and that it asks something."""

import re
from collections.abc import Iterator

from toolkit.stack.lint.model import Model, Service, text
from toolkit.stack.lint.rule import Found, Rule, each

# Commands that say no more than that the container runs, which the Engine knows already.
_EMPTY = {"true", ":", "exit", "echo", "printf", "pgrep", "pidof", "ps", "kill", "sleep", "ls", "uptime", "hostname"}
_FILTERS = {"grep", "egrep", "wc", "head", "tail", "awk", "cut"}
_SHELLS = {"sh", "bash", "ash", "/bin/sh", "/bin/bash"}


def _line(service: Service) -> str | None:
    """Return the health check as one line of shell; empty where it is turned off, None where there is none."""
    test = service.at("healthcheck", "test")
    if service.at("healthcheck", "disable") is True:
        return ""
    words = [text(word) for word in test] if isinstance(test, list) else [text(test)]
    if words[:1] == ["NONE"]:
        return ""
    kind, rest = (words[0], words[1:]) if words[0] in {"CMD", "CMD-SHELL"} else ("", words)
    if kind == "CMD" and len(rest) > 2 and rest[0] in _SHELLS and rest[1] == "-c":
        rest = rest[2:]
    return " ".join(rest).strip() or None


def _unchecked(model: Model, service: Service) -> Iterator[Found]:
    line = _line(service)
    if line or model.one_shot(service):
        return
    told = "no health check here (its image may have one, which nobody sees)" if line is None else "its check is off"
    yield Found(told, service.name, ("healthcheck",))


def _shallow(_model: Model, service: Service) -> Iterator[Found]:
    if (line := _line(service)) and (empty := _asks_nothing(line)):
        told = f"its check, {' and '.join(empty)}, passes whenever the container runs"
        yield Found(told, service.name, ("healthcheck", "test"))


def _asks_nothing(line: str) -> list[str]:
    """Return the programs of a check that asks nothing; empty where one of them may ask something."""
    parts = [part.split() for part in re.split(r"&&|\|\||[;|\n]", line)]
    programs = {words[0].rpartition("/")[2] for words in parts if words}
    return sorted(programs & _EMPTY) if programs <= _EMPTY | _FILTERS else []


RULES = (
    Rule(
        "no-health-check",
        "warning",
        "A container that runs and answers nobody counts as healthy: the deploy passes and nothing restarts it.",
        "Add a `healthcheck` that asks the service a real question, such as a request or a query.",
        each(_unchecked),
    ),
    Rule(
        "shallow-health-check",
        "warning",
        "A check that only looks whether a process is there stays green while the service is hung or cannot work.",
        "Have the check use the service: an HTTP request, `pg_isready`, `redis-cli ping`, a fresh heartbeat file.",
        each(_shallow),
    ),
)
