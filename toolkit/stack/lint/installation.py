"""Rules about what lies around the Compose files: the host file, env files, and names that cannot be had twice."""

import re
from collections.abc import Iterator
from itertools import combinations

from toolkit.stack.lint.model import Model, Service, sequence, text
from toolkit.stack.lint.rule import Found, Rule, each

# A level of logging may differ between two services; whom they talk to, and with which password, may not.
_SHARED = re.compile(
    r"(PASSWORD|PASSWD|SECRET|TOKEN|_KEY|_URL|_URI|_DSN|_HOST|_PORT|_USER|_USERNAME|_DB|_DATABASE)$", re.I
)


def _fixed(model: Model, service: Service) -> Iterator[Found]:
    if (count := model.replicas(service)) < 2:
        return
    if text(service.at("container_name")):
        yield Found(f"{count} containers, and one fixed name", service.name, ("container_name",))
    for port in service.ports:
        if port.published and "-" not in port.published:
            yield Found(f"{count} containers, and one host port {port}", service.name, ("ports",))


def _unknown(model: Model) -> Iterator[Found]:
    if model.stack is None:
        return
    asserted = [one.service for one in model.stack.gate.assertions]
    for keys, names in (
        (("scale",), model.stack.scale),
        (("exclusive",), model.stack.exclusive),
        (("gate",), asserted),
    ):
        for name in names:
            if name not in model.services:
                told = "its profile is off" if name in model.off else "there is no such service"
                yield Found(f"stack.{keys[0]} names {name}: {told}", keys=("stack", *keys, name))
    granted = {_grant(one) for service in model.services.values() for one in sequence(service.at("secrets"))}
    for name in model.stack.secrets:
        if name not in granted | model.used:
            told = f"stack.secrets names {name}, which no service uses and nothing is made of"
            yield Found(told, keys=("stack", "secrets", name))


def _grant(entry: object) -> str:
    return text(entry.get("source")) if isinstance(entry, dict) else text(entry)


def _disagree(model: Model) -> Iterator[Found]:
    for (one, first), (other, second) in combinations(sorted(model.env_files.items()), 2):
        if (one, other) in model.layers or (other, one) in model.layers:
            continue
        differing = [name for name in sorted(first.keys() & second.keys()) if first[name] != second[name]]
        for name in differing:
            if _SHARED.search(name):
                yield Found(f"{name} is not the same in {one} and {other}", keys=(one, name))


RULES = (
    Rule(
        "fixed-when-scaled",
        "error",
        "A name and a host port exist once on a machine: the second container does not start.",
        "Take `container_name` out, and let a proxy on the stack's network reach the containers.",
        each(_fixed),
    ),
    Rule(
        "unknown-service",
        "error",
        "The host file speaks of what the stack does not have: a deploy refuses it, or does not do what was meant.",
        "Correct the name, or turn the profile on.",
        _unknown,
        whole=True,
    ),
    Rule(
        "env-files-disagree",
        "warning",
        "Two services are told different addresses or passwords for the same thing: one of them will not get in.",
        "Have one source for each value: a variable of the host file, or one env file for both.",
        _disagree,
        whole=True,
    ),
)
