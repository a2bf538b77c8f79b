"""The lab's own network: a subnet that nothing else here uses, fixed addresses in it, and free ports on loopback."""

import contextlib
import hashlib
import ipaddress
import json
import secrets
import socket
from collections.abc import Collection, Iterable

from toolkit.lab.engine import Engine, finish
from toolkit.lab.home import Home, State
from toolkit.words.command import command
from toolkit.words.errors import LabError

PLACES = {"registry": 2, "s3": 3, "repository": 4}
FIRST_HOST = 10
PORTS = range(20000, 32000)
POOL = ipaddress.IPv4Network("10.213.0.0/16")


def candidates(seed: str, taken: Collection[ipaddress.IPv4Network]) -> Iterable[ipaddress.IPv4Network]:
    """Yield the free /24 networks of the pool, starting at a place that depends on the seed."""
    subnets = list(POOL.subnets(new_prefix=24))
    start = int(hashlib.sha256(seed.encode()).hexdigest(), 16) % len(subnets)
    for subnet in subnets[start:] + subnets[:start]:
        if not any(subnet.overlaps(other) for other in taken):
            yield subnet


def parse_networks(text: str) -> set[ipaddress.IPv4Network]:
    """Read every IPv4 network named in the text, such as the output of `ip route`."""
    found = set()
    for word in text.split():
        try:
            network = ipaddress.IPv4Network(word, strict=False)
        except ValueError:
            continue
        if 0 < network.prefixlen < 32:
            found.add(network)
    return found


def free_port(taken: Collection[int]) -> int:
    """Return a port on loopback that nobody listens on and that is not in `taken`.

    Drawn below the range of outgoing connections, one of which might hold the port when a box starts again.
    """
    while True:
        port = PORTS.start + secrets.randbelow(len(PORTS))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in taken:
                return port


def port_of(state: State, part: str) -> int:
    """Return the loopback port of a part, chosen once and then kept."""
    if part not in state.ports:
        state.ports[part] = free_port(state.ports.values())
    return state.ports[part]


def address_of(state: State, part: str) -> str:
    """Return the fixed address of a service or host; a host's place is chosen once and kept while it exists."""
    place = PLACES.get(part) or state.places.get(part)
    if place is None:
        place = next(number for number in range(FIRST_HOST, 250) if number not in state.places.values())
        state.places[part] = place
    return str(ipaddress.IPv4Network(state.subnet)[place])


def ensure_network(engine: Engine, home: Home, state: State) -> None:
    """Make the lab's network unless it is there; its subnet is kept in the state."""
    found = engine.inspect("network", home.name("net"))
    if found:
        state.subnet = next(part["Subnet"] for part in found["IPAM"]["Config"] if ":" not in part["Subnet"])
        return
    complaint = ""
    for subnet in list(candidates(home.id, _taken(engine)))[:8]:
        made = engine.ask(*_creation(home, subnet))
        if made.ok:
            state.subnet = str(subnet)
            return
        complaint = made.complaint
    raise LabError(f"no network could be made for the lab: {complaint}")


def _creation(home: Home, subnet: ipaddress.IPv4Network) -> tuple[str, ...]:
    # A second, private IPv6 subnet, so that what a firewall does for one family can be proven for both.
    v6 = f"fd00:{int(subnet.network_address) >> 8 & 0xFFFF:x}:{home.id[:4]}:{home.id[4:]}::/64"
    options = ("--label", home.label, "--subnet", str(subnet), "--ipv6", "--subnet", v6)
    return ("network", "create", *options, home.name("net"))


def _taken(engine: Engine) -> set[ipaddress.IPv4Network]:
    routes = finish(command("ip", "-4", "route")).text
    names = engine.run("network", "ls", "--quiet").text.split()
    known = json.loads(engine.run("network", "inspect", *names).stdout) if names else []
    subnets = [part.get("Subnet", "") for network in known for part in network["IPAM"]["Config"] or []]
    return parse_networks(" ".join([routes, *subnets]))
