"""Kernel settings: a sysctl file for the next boot, and the values that count now.

The defaults close what a server has no use for and leave alone what containers live on: forwarding stays as it is, and
the reverse path filter is not made strict. Inside a container only the network settings are the machine's own.
A setting this kernel does not know waits in the file: it counts as soon as a module brings it.
"""

from collections.abc import Iterator, Mapping

from toolkit.converge import Change, Fact, Facts, operation
from toolkit.machine import files, os
from toolkit.words.command import script

PATH = "/etc/sysctl.d/99-toolkit.conf"
HEADER = "# Written by the toolkit from the host file. A leading '-' forgives a kernel that lacks the setting.\n"

DEFAULTS = {
    "fs.protected_fifos": "1",
    "fs.protected_hardlinks": "1",
    "fs.protected_regular": "2",
    "fs.protected_symlinks": "1",
    "fs.suid_dumpable": "0",
    "kernel.dmesg_restrict": "1",
    "kernel.kptr_restrict": "1",
    "kernel.sysrq": "0",
    "net.ipv4.conf.all.accept_redirects": "0",
    "net.ipv4.conf.all.accept_source_route": "0",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.default.accept_redirects": "0",
    "net.ipv4.conf.default.accept_source_route": "0",
    "net.ipv4.conf.default.send_redirects": "0",
    "net.ipv4.icmp_echo_ignore_broadcasts": "1",
    "net.ipv4.tcp_syncookies": "1",
    "net.ipv6.conf.all.accept_redirects": "0",
    "net.ipv6.conf.all.accept_source_route": "0",
    "net.ipv6.conf.default.accept_redirects": "0",
    "net.ipv6.conf.default.accept_source_route": "0",
}  # fmt: skip

# One program reads all of them; what is not there prints nothing. The shell's own `read` goes byte by byte, and the
# kernel answers such a reader with the first digit alone.
LOOK = 'cd /proc/sys && grep --no-messages --with-filename "" -- "$@" || true'

WRITE = """
while [ $# -gt 1 ]; do
  printf '%s\\n' "$2" >"/proc/sys/$1" || exit 1
  shift 2
done
"""


def node(key: str) -> str:
    """Return where a setting lives under /proc/sys. With a slash first, dots are part of names, as in sysctl."""
    slash, dot = key.find("/"), key.find(".")
    if slash != -1 and (dot == -1 or slash < dot):
        return key
    return key.translate(str.maketrans("./", "/."))


def parse_values(text: str) -> dict[str, str]:
    """Read `LOOK`: a node, a colon and its value; several numbers stand apart by one space."""
    rows = (line.partition(":") for line in text.splitlines())
    return {name: " ".join(value.split()) for name, _, value in rows}


def values(keys: tuple[str, ...]) -> Fact[dict[str, str]]:
    """Return the fact of what these settings are now; the kernel's unknown ones are left out."""
    return Fact("kernel settings", script(LOOK, *(node(key) for key in keys)), parse_values)


@operation
def sysctl(facts: Facts, settings: Mapping[str, str]) -> Iterator[Change]:
    """Ensure the defaults and these settings, now and after a reboot."""
    wanted = {**DEFAULTS, **settings}
    current = values(tuple(wanted))
    facts.need(current, os.SYSTEM, files.text(PATH))
    yield from files.file(PATH, render(wanted))(facts)
    now, inside = facts.get(current), bool(facts.get(os.SYSTEM).container)
    wrong = {key: value for key, value in wanted.items() if _differs(now, key, value)}
    ours = {key: value for key, value in wrong.items() if not inside or node(key).startswith("net/")}
    if ours:
        pairs = [word for key, value in ours.items() for word in (node(key), value)]
        yield Change(f"set {', '.join(f'{key}={value}' for key, value in ours.items())}", script(WRITE, *pairs))


def render(settings: Mapping[str, str]) -> str:
    """Return the sysctl file."""
    return HEADER + "".join(f"-{key} = {value}\n" for key, value in sorted(settings.items()))


def _differs(now: Mapping[str, str], key: str, value: str) -> bool:
    return node(key) in now and now[node(key)] != " ".join(value.split())
