"""sshd: hardened, and proven by what sshd itself says that it does.

What we want is written to one file that is read first, because in sshd the first word counts: cloud-init's
`50-cloud-init.conf` then loses. Both sides of the comparison come from `sshd -T`, once over our file alone and once
over all of the configuration, so sshd and not this module knows how it writes `prohibit-password` or `1m`.
A setting that sshd does not understand is found while planning.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from toolkit.config.models import Sshd
from toolkit.converge import Change, Fact, Facts, operation
from toolkit.converge.changes import difference
from toolkit.host import File, Host
from toolkit.machine import files, guard, systemd
from toolkit.words.command import command, script
from toolkit.words.errors import ConfigError

MAIN = "/etc/ssh/sshd_config"
FOLDER = f"{MAIN}.d"
OURS = f"{FOLDER}/00-toolkit.conf"
INCLUDE = f"Include {FOLDER}/*.conf"
HEADER = (
    "# Written by the toolkit from the host file. sshd takes the first value it meets, so this file is read first.\n"
)

SERVICE, SOCKET = "ssh.service", "ssh.socket"

# Asked as a stranger would be served: a `Match all` somewhere else shows, too. Where sshd has not run since the boot
# the folder it wants is missing; it is on a tmpfs and always the same.
TELL = """
command -v sshd >/dev/null || { echo absent; exit 0; }
[ -d /run/sshd ] || mkdir -m 0755 /run/sshd
exec sshd -T -C user=nobody,host=stranger.invalid,addr=192.0.2.1
"""

# What sshd does not understand is an answer as well, and the first line of it says what it was.
MEAN = """
command -v sshd >/dev/null || { echo absent; exit 0; }
[ -d /run/sshd ] || mkdir -m 0755 /run/sshd
sshd -T -f /dev/stdin 2>&1 || echo refused
"""

# These add up over all files instead of the first one counting, so elsewhere they are silenced. What stands behind a
# Match is about somebody in particular and stays.
ADDITIVE = ("Port", "AllowUsers")
STRAYS = f"""
grep --files-with-matches --ignore-case --extended-regexp '^[[:space:]]*({"|".join(ADDITIVE)})[[:space:]]' \\
  {MAIN} {FOLDER}/*.conf 2>/dev/null | grep --invert-match --fixed-strings --line-regexp {OURS} || true
"""
SILENCE = f"""
words=$1; shift
sed --in-place --regexp-extended \\
  "/^[[:space:]]*Match[[:space:]]/I,\\$!s!^[[:space:]]*($words)[[:space:]]!# moved to {OURS}: &!I" "$@"
"""

KEEP = f"""
rm -rf {guard.FOLDER}-sshd && mkdir -p {guard.FOLDER}-sshd/draft && chmod 0700 {guard.FOLDER}-sshd || exit 1
cp --archive {MAIN} {guard.FOLDER}-sshd/draft/ || exit 1
[ ! -d {FOLDER} ] || cp --archive {FOLDER} {guard.FOLDER}-sshd/draft/ || exit 1
mv {guard.FOLDER}-sshd/draft {guard.FOLDER}-sshd/kept
"""

BACK = f"""
[ -d {guard.FOLDER}-sshd/kept ] || exit 1
rm -f {OURS}
cp --archive --force {guard.FOLDER}-sshd/kept/. /etc/ssh/ || exit 1
if [ "$1" = socket ]; then systemctl disable --now {SERVICE}; systemctl enable --now {SOCKET}
else systemctl restart {SERVICE}; fi
"""

# Stopping the socket may take the service with it, so the service is started last.
LEAVE_SOCKET = f"""
systemctl disable --now {SOCKET} && systemctl enable {SERVICE} && systemctl restart {SERVICE}
"""

Settings = Mapping[str, tuple[str, ...]]
"""What sshd says it does: for each keyword in lower case its values, sorted."""


def parse_settings(text: str) -> Settings | None:
    """Read `sshd -T`; None where there is no sshd."""
    if text.strip() == "absent":
        return None
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        keyword, _, value = line.partition(" ")
        values.setdefault(keyword.lower(), []).append(value)
    return {keyword: tuple(sorted(found)) for keyword, found in values.items()}


def parse_meant(text: str) -> Settings | str | None:
    """Read `sshd -T` over our file alone; a text is sshd's complaint about it."""
    if text.rstrip().endswith("\nrefused"):
        return text.splitlines()[0].removeprefix("/dev/stdin: ")
    return parse_settings(text)


EFFECTIVE = Fact("sshd's settings", script(TELL), parse_settings)
STRAY_FILES = Fact("files that add to sshd's settings", script(STRAYS), lambda text: tuple(text.split()))


def meant(content: str) -> Fact[Settings | str | None]:
    """Return the fact of what sshd would do under this configuration alone, or its complaint about it."""
    return Fact("the wanted sshd settings", script(MEAN, stdin=content.encode()), parse_meant)


def wanted(spec: Sshd) -> dict[str, str]:
    """Return the keywords a host file asks for, in order. What it says itself beats our defaults."""
    keywords = {
        "Port": str(spec.port),
        "PermitRootLogin": spec.root_login,
        "PubkeyAuthentication": "yes",
        "PasswordAuthentication": "yes" if spec.password_authentication else "no",
        "KbdInteractiveAuthentication": "no",
        "PermitEmptyPasswords": "no",
        "MaxAuthTries": str(spec.max_auth_tries),
        "LoginGraceTime": "30",
        "X11Forwarding": "no",
    }
    if spec.allow_users:
        keywords["AllowUsers"] = " ".join(spec.allow_users)
    names = {name.lower(): name for name in keywords}
    return keywords | {names.get(name.lower(), name): value for name, value in spec.settings.items()}


def render(spec: Sshd) -> str:
    """Return our file."""
    return HEADER + "".join(f"{keyword} {value}\n" for keyword, value in wanted(spec).items())


def with_include(main: str) -> str:
    """Return sshd's main file with the folder of additions read before anything else."""
    pattern = re.compile(rf"^\s*Include\s+{re.escape(FOLDER)}/\*\.conf\s*$", re.IGNORECASE)
    lines = main.splitlines()
    said = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if said and pattern.match(said[0]):
        return main
    return "\n".join([INCLUDE, *(line for line in lines if not pattern.match(line))]) + "\n"


@dataclass(frozen=True)
class State:
    """All there is to know before deciding."""

    effective: Settings
    meant: Settings
    main: files.Entry
    strays: tuple[str, ...]
    by_socket: bool

    def differs(self, keyword: str) -> bool:
        key = keyword.lower()
        return key in self.meant and self.effective.get(key) != self.meant[key]


def _state(facts: Facts, content: str) -> State | None:
    effective, intended, main = facts.get(EFFECTIVE), facts.get(meant(content)), facts.get(files.text(MAIN))
    if isinstance(intended, str):
        raise ConfigError(
            f"{facts.host.name}: sshd does not take what machine.sshd asks for: {intended}",
            hint="correct machine.sshd.settings in the host file; `man sshd_config` on the host lists the keywords",
        )
    if effective is None or intended is None or main is None:
        return None
    socket = facts.get(systemd.state(SOCKET))
    strays = facts.get(STRAY_FILES)
    return State(effective, intended, main, strays, socket.active in systemd.UP or socket.enabled)


@operation
def hardened(facts: Facts, spec: Sshd) -> Iterator[Change]:
    """Ensure that sshd does what the host file says, and that one can still log in.

    Where there is no sshd there is nothing to harden.
    """
    content = render(spec)
    facts.need(
        EFFECTIVE, meant(content), files.text(MAIN), files.text(OURS), STRAY_FILES, guard.ARMED,
        systemd.state(SOCKET), systemd.state(SERVICE), systemd.stale(SERVICE, MAIN, FOLDER, OURS),
    )  # fmt: skip
    state = _state(facts, content)
    if state is None:
        return
    changes = tuple(_changes(facts, state, content, spec))
    if changes:
        yield Change("keep a copy of sshd's configuration", script(KEEP))
    back = script(BACK, "socket" if state.by_socket else "service")
    moved = spec.port if state.differs("port") else None
    yield from guard.guarded("sshd", changes, revert=back, prove=lambda host: _log_in(host, moved))(facts)


def _changes(facts: Facts, state: State, content: str, spec: Sshd) -> Iterator[Change]:
    main = with_include(state.main.content)
    if main != state.main.content:
        yield _rewrite(state.main, main)
    added = [keyword for keyword in ADDITIVE if state.differs(keyword)]
    if state.strays and added:
        silence = script(SILENCE, "|".join(added), *state.strays)
        yield Change(f"silence {' and '.join(added)} in {', '.join(state.strays)}", silence)
    yield from files.file(OURS, content)(facts)
    stale = facts.get(systemd.stale(SERVICE, MAIN, FOLDER, OURS))
    different = [keyword for keyword in wanted(spec) if state.differs(keyword)]
    if different:
        yield Change(f"check sshd's configuration: {', '.join(different)}", command("sshd", "-t"))
    if state.by_socket:
        yield Change("let sshd listen by itself, since its socket knows no Port", script(LEAVE_SOCKET))
    elif different or stale:
        yield Change("restart sshd; sessions stay", systemd.restart(SERVICE))
    if not state.by_socket:
        yield from systemd.service(SERVICE)(facts)


def _rewrite(main: files.Entry, after: str) -> Change:
    wanted = File(MAIN, after.encode(), main.mode, main.owner, main.group)
    return Change(f"read {FOLDER} first in {MAIN}", wanted, difference(main.content, after, MAIN))


def _log_in(host: Host, port: int | None) -> None:
    host.prove_login(port)
