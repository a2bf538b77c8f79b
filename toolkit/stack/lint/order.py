"""Rules about what starts when, what ends, and what comes back by itself."""

from collections.abc import Iterator

from toolkit.stack.lint.model import Model, Service, mapping
from toolkit.stack.lint.rule import Found, Rule, each

_FOR_EVER = {"always", "unless-stopped"}


def _unconditional(model: Model, service: Service) -> Iterator[Found]:
    for name, condition in sorted(service.waits_for.items()):
        if condition in {"", "service_started"} and name in model.services:
            better = "service_completed_successfully" if model.one_shot(model.services[name]) else "service_healthy"
            told = f"starts as soon as {name} runs, ready or not: the condition could be {better}"
            yield Found(told, service.name, ("depends_on", name))


def _one_shot_restarts(model: Model) -> Iterator[Found]:
    for name in sorted(model.awaited & model.services.keys()):
        service = model.services[name]
        if service.restart in _FOR_EVER:
            told = f"others wait for its end, and it restarts {service.restart}"
            yield Found(told, name, ("restart",))


def _gone_after_reboot(model: Model, service: Service) -> Iterator[Found]:
    if service.restart in _FOR_EVER or model.one_shot(service):
        return
    told = f"restart: {service.restart}" if service.restart else "no restart policy"
    yield Found(f"{told}: it stays down after a reboot", service.name, ("restart",))


def _dropped(model: Model, service: Service) -> Iterator[Found]:
    for name in sorted(mapping(service.at("depends_on"))):
        if name in model.off or name not in model.services:
            told = f"depends on {name}, whose profile is off: it starts without it"
            yield Found(told, service.name, ("depends_on", name))


RULES = (
    Rule(
        "depends-without-condition",
        "warning",
        "Running is not ready: after a reboot the service meets a database that still recovers, fails, and restarts.",
        "Write `depends_on: {NAME: {condition: service_healthy}}`.",
        each(_unconditional),
    ),
    Rule(
        "one-shot-restarts",
        "error",
        "A one-shot that restarts does its work over and over, and those who wait for its end may wait for ever.",
        'Set `restart: "no"` (in quotes), or `on-failure` where trying again is harmless.',
        _one_shot_restarts,
    ),
    Rule(
        "not-back-after-reboot",
        "warning",
        "Docker brings only `always` and `unless-stopped` back after a reboot or a restart of the daemon.",
        "Set `restart: unless-stopped`.",
        each(_gone_after_reboot),
    ),
    Rule(
        "dropped-dependency",
        "warning",
        "A dependency in a profile that is off is dropped without a word, and the service meets nobody at run time.",
        "Turn the profile on, take the dependency out, or give both services the same profile.",
        each(_dropped),
    ),
)
