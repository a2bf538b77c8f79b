"""Rules about who can reach a service."""

from collections.abc import Iterator

from toolkit.stack.lint import kinds
from toolkit.stack.lint.model import Model, Port, Service
from toolkit.stack.lint.rule import Found, Rule, each

# What a web server is there for.
_WEB = {"80", "443"}


def _forbidden(service: Service, port: Port) -> str:
    """Return what strangers would reach that they never should, or an empty string."""
    if kinds.admin_door(service):
        return "an administrators' console"
    return kinds.database(service) or kinds.told_by_port(port.target)


def _public_database(_model: Model, service: Service) -> Iterator[Found]:
    for port in service.ports:
        if port.public and (what := _forbidden(service, port)):
            yield Found(f"port {port} opens {what} to everybody", service.name, ("ports",))


def _on_all_addresses(model: Model, service: Service) -> Iterator[Found]:
    for port in service.ports:
        if port.public and port.address in {"", "0.0.0.0", "::", "[::]"} and not _meant(model, service, port):  # noqa: S104
            yield Found(f"port {port} is published on all addresses", service.name, ("ports",))


def _meant(model: Model, service: Service, port: Port) -> bool:
    if _forbidden(service, port):
        return True  # told by the other rule
    firewall = model.machine.firewall if model.machine else None
    opened = {(str(one.number), one.protocol) for one in firewall.open} if firewall else set()
    return port.published in _WEB or (port.published, port.protocol) in opened


def _on_public_network(model: Model, service: Service) -> Iterator[Found]:
    if not kinds.database(service):
        return
    for other in model.services.values():
        shared = sorted(service.networks & other.networks)
        if other.name != service.name and shared and any(port.public for port in other.ports):
            told = f"shares the network {shared[0]} with {other.name}, which strangers reach"
            yield Found(told, service.name, ("networks",))


RULES = (
    Rule(
        "public-database",
        "error",
        "A database or an administrators' console on a public address is found by scanners within the hour.",
        "Take `ports` out (services of the stack reach it without), or publish on 127.0.0.1 and come by SSH.",
        each(_public_database),
    ),
    Rule(
        "port-on-all-addresses",
        "warning",
        "Docker publishes past most firewalls: the service answers everybody, past the proxy and its TLS.",
        "Publish on loopback, `127.0.0.1:3000:3000`; or, where it is meant, list the port in `machine.firewall.open`.",
        each(_on_all_addresses),
    ),
    Rule(
        "database-on-public-network",
        "warning",
        "Whoever takes over the service that faces the internet talks to the database directly.",
        "Give databases a network of their own, with only those services on it that query them.",
        each(_on_public_network),
    ),
)
