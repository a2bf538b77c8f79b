"""The rules of the firewall as text: one nftables table of our own, IPv4 and IPv6 alike.

Nothing here depends on Docker's chains and nothing changes them, so the rules hold whatever Docker does, and Docker
works whatever these do. A packet is dropped when any table drops it: accepting here only means not dropping it here.
"""

from collections.abc import Iterable
from string import Template

from toolkit.config.values import Port

TABLE = "inet toolkit"

# `ct original proto-dst` is the port the stranger asked for; Docker has rewritten the packet's own by then. The raw
# chain comes before that rewriting: it keeps neighbours away from what is published on 127.0.0.1 (moby/moby#45610).
RULES = Template("""\
table inet toolkit {
	set open_tcp {
		type inet_service$tcp
	}

	set open_udp {
		type inet_service$udp
	}

	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		iifname != "lo" ip daddr 127.0.0.0/8 counter drop
		iifname != "lo" ip6 daddr ::1 counter drop
	}

	chain input {
		type filter hook input priority filter; policy drop;
		iifname "lo" accept
		ct state established,related accept
		ct state invalid drop
		icmp type { echo-request, destination-unreachable, time-exceeded, parameter-problem } accept
		icmpv6 type { echo-request, destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept
		icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query } accept
		udp sport 67 udp dport 68 accept
		ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
		tcp dport @open_tcp accept
		udp dport @open_udp accept
		counter comment "refused: nobody opened this port"
	}

	chain forward {
		type filter hook forward priority filter - 10; policy accept;
		ct state established,related accept
		iifname { "docker0", "docker_gwbridge" } accept
		iifname "br-*" accept
		ct status dnat meta l4proto tcp ct original proto-dst @open_tcp accept
		ct status dnat meta l4proto udp ct original proto-dst @open_udp accept
		ct status dnat counter drop comment "refused: published, but not opened"
		oifname { "docker0", "docker_gwbridge" } counter drop comment "refused: not published"
		oifname "br-*" counter drop comment "refused: not published"
	}
}
""")


def table(ports: Iterable[Port]) -> str:
    """Return the whole table, with these ports open to everybody."""
    wanted = sorted(set(ports))
    return RULES.substitute(tcp=_elements(wanted, "tcp"), udp=_elements(wanted, "udp"))


def _elements(ports: Iterable[Port], protocol: str) -> str:
    numbers = ", ".join(str(port.number) for port in ports if port.protocol == protocol)
    return f"\n\t\telements = {{ {numbers} }}" if numbers else ""


def replacing(table: str) -> str:
    """Return a transaction that puts a table in the place of whatever stood under our name, and touches no other.

    The first line makes sure that there is something to delete.
    """
    return f"table {TABLE}\ndelete table {TABLE}\n{table}"
