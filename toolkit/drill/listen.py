"""Listens in a container's network for what wants out of it, and says one line for each place: a program by itself.

It runs in the network namespace of a container and with the host's own files: `listen.py GATEWAY OWN/LENGTH NAMES`. The
default route that it sets leads to the fence, where everything is dropped. Names are those that Docker's resolver
knows; other questions to it are attempts as well, and it forwards none from an internal network.
Formats: packet(7), RFC 791, RFC 1035 section 4.
"""

import ipaddress
import socket
import subprocess
import sys
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_ALL, _IPV4 = 0x0003, 0x0800
_PORTS = {6: "tcp", 17: "udp"}


def question(payload: bytes) -> str:
    """Return the name that a DNS query asks for; empty for anything else."""
    if len(payload) < 17 or payload[2] & 0x80 or payload[4:6] != b"\0\1":
        return ""
    labels, at = [], 12
    while at < len(payload) and 0 < payload[at] < 64:
        labels.append(payload[at + 1 : at + 1 + payload[at]].decode("ascii", "replace"))
        at += 1 + payload[at]
    return ".".join(labels) if at < len(payload) and payload[at] == 0 else ""


def outside(packet: bytes, network: Network, known: Sequence[str]) -> str:
    """Return where an IPv4 packet wants to get outside of the sandbox; empty where it stays inside."""
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return ""
    head, protocol, to = (packet[0] & 15) * 4, packet[9], ipaddress.ip_address(packet[16:20])
    if to.is_loopback:
        name = question(packet[head + 8 :]) if protocol == 17 else ""
        mine = any(name == one or name.startswith(f"{one}.") for one in known)
        return name if "." in name and not mine and not name.endswith(".arpa") else ""
    if to in network or to.is_multicast or to == ipaddress.ip_address("255.255.255.255"):
        return ""
    port = int.from_bytes(packet[head + 2 : head + 4], "big")
    return f"{to}:{port}/{_PORTS[protocol]}" if protocol in _PORTS else f"{to} (protocol {protocol})"


def main() -> None:
    gateway, own, names = sys.argv[1:4]
    network, known = ipaddress.ip_interface(own).network, [name for name in names.split(",") if name]
    subprocess.run(["ip", "route", "replace", "default", "via", gateway], check=False)
    told: set[str] = set()
    listener = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ALL))
    while len(told) < 200:
        packet, about = listener.recvfrom(65535)
        if about[1] == _IPV4 and about[2] in (0, socket.PACKET_OUTGOING):
            where = outside(packet, network, known)
            if where and where not in told:
                told.add(where)
                sys.stdout.write(f"{where}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
