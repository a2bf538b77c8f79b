"""The firewall: strangers reach sshd and the ports the host file opens, whoever listens there, container or not.

The rules are loaded under a guard: a host that nobody can log in to any more takes them back by itself. What counts is
what the kernel has now, so a rule changed by hand is drift; and what is written for the next boot is the same text.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress

from toolkit.config.models import Firewall, HostFile, Sshd
from toolkit.config.values import Port
from toolkit.converge import Change, Fact, Facts, Operation, operation
from toolkit.converge.changes import difference
from toolkit.host import Host
from toolkit.machine import apt, files, guard, systemd
from toolkit.machine.firewall_rules import TABLE, replacing, table
from toolkit.words.command import command, script
from toolkit.words.errors import Error, HostError, Unreachable

RULES = "/etc/toolkit/firewall.nft"
KEPT = "/run/toolkit/firewall.before"
SERVICE = "toolkit-firewall.service"
STOCK = "nftables.service"

# Stopping the unit opens nothing: there is no ExecStop.
UNIT = f"""\
[Unit]
Description=Firewall of this host (nftables table {TABLE})
Documentation=man:nft(8)
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target docker.service shutdown.target
After={STOCK} local-fs.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft --file {RULES}
ExecReload=/usr/sbin/nft --file {RULES}

[Install]
WantedBy=sysinit.target
"""

# Debian's own unit flushes every table there is whenever it is started or reloaded; then ours comes back at once.
BESIDE_STOCK = f"""\
[Service]
ExecStartPost=-/usr/sbin/nft --file {RULES}
ExecReload=-/usr/sbin/nft --file {RULES}
"""
# Not restarted with what is new: the rules of its file may be about to change, and let nobody in where sshd is now.
UNITS = (
    systemd.Wanted(SERVICE, UNIT, enabled=True, restarts=False),
    systemd.Wanted(STOCK, BESIDE_STOCK, beside="toolkit"),
)

LIST = f"""
command -v nft >/dev/null || exit 0
nft list tables | grep --quiet --line-regexp 'table {TABLE}' || exit 0
exec nft --stateless list table {TABLE}
"""

# Each version of nft words rules in its own way. So the host's own nft is asked how it words the wanted ones, in a
# network namespace that is gone again with the command.
WORDED = f"""
command -v nft >/dev/null || exit 0
exec unshare --net sh -c 'nft --file - && exec nft --stateless list table {TABLE}'
"""

KEEP = 'umask 077; mkdir --parents "${2%/*}" && sh -c "$1" >"$2"'

WAY_BACK = f"""
if [ -s "$1" ]; then
  {{ printf 'table {TABLE}\\ndelete table {TABLE}\\n'; cat -- "$1"; }} | nft --file -
else
  nft add table {TABLE} && nft delete table {TABLE}
fi
"""

# ufw's unit is active even while ufw is turned off; its file knows better.
MASTERS = """
if grep --quiet --ignore-case '^ENABLED=yes' /etc/ufw/ufw.conf 2>/dev/null; then echo ufw; fi
if systemctl --quiet is-active firewalld.service; then echo firewalld; fi
"""


def parse_sshd_ports(text: str) -> frozenset[int]:
    """Read the ports out of `sshd -T`."""
    return frozenset(int(line.split()[1]) for line in text.splitlines() if line.startswith("port "))


LIVE = Fact("live firewall rules", script(LIST), str)
OTHERS = Fact("other firewalls", script(MASTERS), str.split)
SSHD_PORTS = Fact("ports of sshd", command("sshd", "-T"), parse_sshd_ports)


def worded(rules: str) -> Fact[str]:
    """Return the fact of how the host's nft words a table; empty where there is no nft yet."""
    return Fact("wanted firewall rules", script(WORDED, stdin=rules.encode()), str)


def operations(host_file: HostFile) -> list[Operation]:
    """Return what the host file wants of the firewall, in order; it comes after sshd."""
    spec = host_file.machine.firewall
    if spec is None:
        return []
    sshd = host_file.machine.sshd
    return [
        alone(),
        # Rules that are loaded cut off what came in answer to what was asked before there were any.
        apt.fetched("nftables"),
        guarded_rules(spec, sshd),
        kept_rules(spec, sshd),
        systemd.units(*UNITS),
        systemd.service(SERVICE),
    ]


def before_sshd(host_file: HostFile) -> list[Operation]:
    """Return what must be open before sshd moves to another port, so that its second login gets through."""
    machine = host_file.machine
    return [admits(machine.sshd.port)] if machine.firewall and machine.sshd else []


def units(host_file: HostFile) -> tuple[systemd.Wanted, ...]:
    """Return the units that load the rules at boot."""
    return UNITS if host_file.machine.firewall else ()


@operation
def alone(facts: Facts) -> Iterator[Change]:
    """Refuse a host where another firewall is at work: with two masters nobody knows what is open."""
    if others := facts.get(OTHERS):
        raise HostError(
            f"{facts.host.name}: {' and '.join(others)} is active, and a host has one firewall",
            hint=f"turn it off on the host (`{_off(others[0])}`) or set machine.firewall: false",
        )
    yield from ()


def _off(master: str) -> str:
    return "ufw disable" if master == "ufw" else f"systemctl disable --now {master}"


@operation
def admits(facts: Facts, port: int) -> Iterator[Change]:
    """Ensure that our table, where it is loaded already, lets this port in."""
    rules = facts.get(LIVE)
    if rules and port not in _open_ports(rules):
        element = command("nft", "add", "element", *TABLE.split(), "open_tcp", f"{{ {port} }}")
        yield Change(f"let port {port} in, before sshd moves there", element)


def _open_ports(rules: str) -> frozenset[int]:
    rest = rules.partition("set open_tcp {")[2]
    elements = rest.partition("}")[0].partition("elements = {")[2]
    return frozenset(int(number) for number in elements.replace(",", " ").split())


@operation
def guarded_rules(facts: Facts, spec: Firewall, sshd: Sshd | None) -> Iterator[Change]:
    """Ensure that the kernel filters by exactly our rules; before they stay, a second login is proven."""
    rules = _rules(facts, spec, sshd)
    facts.need(LIVE, worded(rules), guard.ARMED)
    live, wanted = facts.get(LIVE), facts.get(worded(rules)) or rules
    loads = []
    if live != wanted:
        diff = difference(live or None, wanted, f"nft list table {TABLE}")
        loads = [Change("load the firewall's rules", command("nft", "--file", "-", stdin=rules.encode()), diff)]
        yield Change("keep the rules of now for the way back", script(KEEP, LIST, KEPT))
    yield from guard.guarded("firewall", loads, revert=script(WAY_BACK, KEPT), prove=_second_login(sshd))(facts)


@operation
def kept_rules(facts: Facts, spec: Firewall, sshd: Sshd | None) -> Iterator[Change]:
    """Ensure that the same rules are there for the next boot, and for Debian's own unit."""
    yield from files.file(RULES, _rules(facts, spec, sshd))(facts)


def _rules(facts: Facts, spec: Firewall, sshd: Sshd | None) -> str:
    ssh = {sshd.port} if sshd else facts.get(SSHD_PORTS)
    return replacing(table({*spec.open, *(Port(number) for number in ssh)}))


def _second_login(sshd: Sshd | None) -> Callable[[Host], None]:
    """Return the proof that somebody can log in: where the host file says, or where sshd has just moved to."""

    def prove(host: Host) -> None:
        try:
            host.prove_login()
        except Unreachable:
            with suppress(Error):
                if sshd:
                    return host.prove_login(sshd.port)
            raise

    return prove
