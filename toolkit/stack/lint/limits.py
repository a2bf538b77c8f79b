"""Rules about what a service may take from the machine: memory, CPU, disk for logs."""

from collections.abc import Iterator

from toolkit.stack.lint.model import Model, Service, mapping, text
from toolkit.stack.lint.rule import Found, Rule, each
from toolkit.words.values import Size

# Other drivers keep nothing on this disk, or have a cap of their own.
_GROWING = {"", "json-file"}


def _unlimited(model: Model, service: Service) -> Iterator[Found]:
    missing = [what for what, limit in (("memory", service.memory), ("CPU", service.cpus)) if limit is None]
    # What ends by itself may still take everything while it works, but CPU then is what it is there for.
    if missing and not (model.one_shot(service) and service.memory):
        yield Found(f"no limit of {' and '.join(missing)}", service.name)


def _more_than_the_host(model: Model) -> Iterator[Found]:
    containers = [(service, model.replicas(service)) for service in model.services.values()]
    memory = sum((service.memory or 0) * count for service, count in containers)
    cpus = sum((service.cpus or 0) * count for service, count in containers)
    if model.capacity.memory and memory > model.capacity.memory:
        yield Found(f"limits of memory add up to {Size(memory)}, and the host has {model.capacity.memory}")
    if model.capacity.cpus and cpus > model.capacity.cpus:
        yield Found(f"limits of CPU add up to {cpus:g} cores, and the host has {model.capacity.cpus:g}")


def _uncapped_log(model: Model, service: Service) -> Iterator[Found]:
    capped_by_host = model.machine is not None and model.machine.docker is not None
    driver, options = text(service.at("logging", "driver")), mapping(service.at("logging", "options"))
    if driver in _GROWING and "max-size" not in options and not capped_by_host:
        yield Found("its log grows without a cap", service.name, ("logging",))


RULES = (
    Rule(
        "no-limits",
        "warning",
        "One service that leaks or is flooded takes the memory and CPU of all others, the database's too.",
        "Set `deploy.resources.limits.memory`, and `cpus` there or `cpu_quota`.",
        each(_unlimited),
    ),
    Rule(
        "limits-above-host",
        "warning",
        "Limits that add up to more than the machine has do not limit: the kernel kills whom it likes instead.",
        "Lower limits until their sum, replicas included, leaves the system some room; or take a larger machine.",
        _more_than_the_host,
        whole=True,
    ),
    Rule(
        "no-log-cap",
        "warning",
        "Docker never rotates a log by itself: one talkative container fills the disk.",
        "Set `logging.options.max-size` and `max-file`, or let the host file's `machine.docker` cap all of them.",
        each(_uncapped_log),
    ),
)
