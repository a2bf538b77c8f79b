"""The gate's deadline: how long a stack's own health checks may take before they say no."""

from collections.abc import Mapping

from toolkit.stack.containers import STEADY
from toolkit.stack.service import Check, Service
from toolkit.words.errors import ConfigError
from toolkit.words.values import Duration

LEAST = 60.0
# For what lies between the checks: containers are made, started and looked at.
SLACK = 15.0


def needed(services: Mapping[str, Service], checks: Mapping[str, Check | None]) -> float:
    """Return the seconds in which every service could still become healthy, one after the other where they wait.

    `checks` is each service's health check, an image's own included.
    """
    known: dict[str, float] = {}

    def until(name: str, above: frozenset[str]) -> float:
        if name not in known:
            service, check = services[name], checks.get(name)
            own = 0.0 if service.one_shot else check.patience if check and not check.off else STEADY
            before = [until(one, above | {name}) for one in service.needs if one in services and one not in above]
            known[name] = own + max(before, default=0.0)
        return known[name]

    return max((until(name, frozenset()) for name in services), default=0.0)


def agreed(terms_within: float | None, services: Mapping[str, Service], checks: Mapping[str, Check | None]) -> float:
    """Return the deadline: the one that was set, or the one that follows from the checks.

    Raises ConfigError for one so short that a stack which would become healthy could fail.
    """
    least = needed(services, checks)
    if terms_within is None:
        return max(LEAST, least + SLACK)
    if terms_within < least:
        raise ConfigError(
            f"stack.ready_within is {Duration(terms_within)}, and the health checks may take {Duration(least)}",
            hint="leave it out, make it longer, or shorten start_period, interval and retries of the checks",
        )
    return terms_within
