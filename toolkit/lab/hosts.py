"""Disposable VPSs: containers with systemd, sshd and nothing else, each with an address and host key of its own."""

import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path

from toolkit.lab import boxes
from toolkit.lab.boxes import Box, File, volume
from toolkit.lab.engine import Engine
from toolkit.lab.home import Home, State
from toolkit.lab.mirror import SUITES
from toolkit.lab.network import address_of, port_of
from toolkit.lab.pictures import Pictures
from toolkit.lab.ways import Machine, Way, ways
from toolkit.words.clock import Clock
from toolkit.words.command import script
from toolkit.words.errors import LabError
from toolkit.words.report import Listener
from toolkit.words.values import Secret

LOGINS = {"admin": 1000, "operator": 1001, "guest": 1002}
"""Who logs in with the lab's key: admin has sudo, operator has sudo with a password, guest has none."""
BOOT = 60.0

# The bus may not be there yet; `degraded` is up too, with a unit that a container cannot run.
BOOTED = """
timeout "$1" sh -c 'until systemctl is-system-running --wait 2>/dev/null | grep -qE "running|degraded"
do sleep 0.1; done' && chpasswd --crypt-method SHA512
"""


@dataclass(frozen=True)
class Vps:
    """One host of the lab, and all it takes to reach it."""

    name: str
    os: str
    container: str
    address: str
    port: int
    host_key: str
    identity: Path
    user: str = "admin"


class Hosts:
    """Makes, finds and removes the hosts of one lab."""

    def __init__(self, engine: Engine, home: Home, pictures: Pictures, listener: Listener, clock: Clock) -> None:
        self._engine = engine
        self._home = home
        self._pictures = pictures
        self._listener = listener
        self._clock = clock

    def ensure(self, state: State, name: str, os: str, *, stocked: bool = False) -> Vps:
        """Have a host of this name running. One that is there keeps its system, its packages and its state."""
        if state.hosts.get(name, os) != os:
            raise LabError(f"{name} is there and runs {state.hosts[name]}, not {os}", hint="invoke lab.down first")
        vps = self.find(state, name, os)
        # A container the state does not know was interrupted before its first boot ended: it is made again.
        if name in state.hosts and self._engine.inspect("container", vps.container):
            self._wake(vps)
        else:
            suite = SUITES[os]
            self._start(state, vps, self._pictures.stocked(suite) if stocked else self._pictures.recipe("vps", suite))
            state.hosts[name] = os
        return vps

    def find(self, state: State, name: str, os: str = "") -> Vps:
        """Return the host of this name as it is, or as it would be with this system."""
        key = self._home.ssh_key(f"hosts/{name}", comment=name)
        return Vps(
            name=name,
            os=os or state.hosts[name],
            container=self._home.name(name),
            address=address_of(state, name),
            port=port_of(state, name),
            host_key=" ".join(key.with_suffix(".pub").read_text().split()[:2]),
            identity=self._home.ssh_key(),
        )

    def remove(self, state: State, name: str) -> None:
        """Remove a host with its volumes and its key: a next one of this name is another machine."""
        boxes.remove(self._engine, self._home.name(name))
        for part in ("docker", "containerd"):
            self._engine.ask("volume", "rm", "--force", self._home.name(f"{name}-{part}"))
        for suffix in ("", ".pub"):
            (self._home.folder / "hosts" / f"{name}{suffix}").unlink(missing_ok=True)
        for table in (state.hosts, state.places, state.ports):
            table.pop(name, None)

    def wait(self, vps: Vps, *, within: float = BOOT) -> None:
        """Return once sshd answers on the host's port."""
        deadline = self._clock.now() + within
        while not _greets(vps.port):
            if self._clock.now() > deadline:
                raise LabError(f"{vps.name} does not answer on port {vps.port}", hint=f"docker logs {vps.container}")
            self._clock.sleep(0.05)

    def _wake(self, vps: Vps) -> None:
        # The Engine restarts nothing of ours by itself: after a restart of this machine hosts are switched off.
        self._engine.run("start", vps.container)
        # Not looked at from inside: once Docker has run in a guest, its cgroup takes no process from outside any more.
        self.wait(vps)

    def _start(self, state: State, vps: Vps, image: str) -> None:
        known = ways(SUITES[vps.os], Machine.here())
        # The way that worked last time first: trying the others costs seconds.
        known.sort(key=lambda way: way.name != state.ways.get(vps.os))
        complaints = []
        for way in known:
            boxes.remove(self._engine, vps.container)
            try:
                boxes.make(self._engine, self._box(state, vps, image, way))
                self._prepare(vps)
            except LabError as error:
                complaints.append(f"{way.name}: {error.message.splitlines()[0]}")
                continue
            state.ways[vps.os] = way.name
            return
        boxes.remove(self._engine, vps.container)
        tried = "\n".join(f"  {complaint}" for complaint in complaints)
        raise LabError(f"no way to start {vps.name} ({vps.os}) works on this machine:\n{tried}")

    def _prepare(self, vps: Vps) -> None:
        """Wait for the boot to end, and give operator its password, which no image may hold."""
        password = self._home.secret("operator-password").reveal()
        line = Secret(b"operator:" + password + b"\n")
        result = self._engine.inside(vps.container, script(BOOTED, int(BOOT), stdin=line))
        if not result.ok:
            raise LabError(f"{vps.name} did not boot: {result.complaint or 'systemd is not up'}")
        self.wait(vps)

    def _box(self, state: State, vps: Vps, image: str, way: Way) -> Box:
        options = ["--label", self._home.label, "--label", f"toolkit.lab.part={vps.name}", "--hostname", vps.name]
        options += ["--network", self._home.name("net"), "--ip", vps.address, "--publish", f"127.0.0.1:{vps.port}:22"]
        options += ["--add-host", f"ghcr.io:{address_of(state, 'registry')}"]
        options += ["--add-host", f"s3.lab:{address_of(state, 's3')}"]
        # As systemd mounts them on a real machine; the Engine would forbid programs there.
        options += ["--tmpfs", "/run:exec,mode=755", "--tmpfs", "/tmp:exec,mode=1777", "--env", "container=docker"]  # noqa: S108
        options += ["--stop-timeout", "30", *way.options, *_resolver()]
        options += volume(f"{vps.container}-docker", "/var/lib/docker", self._home.label)
        options += volume(f"{vps.container}-containerd", "/var/lib/containerd", self._home.label)
        return Box(vps.container, image, tuple(options), self._files(vps))

    def _files(self, vps: Vps) -> dict[str, File]:
        key = self._home.folder / "hosts" / vps.name
        public = File(vps.identity.with_suffix(".pub").read_bytes(), mode=0o600)
        files = {
            "/etc/ssh/ssh_host_ed25519_key": File(Secret(key.read_bytes()), mode=0o600),
            "/etc/ssh/ssh_host_ed25519_key.pub": File(key.with_suffix(".pub").read_bytes()),
            "/etc/docker/certs.d/ghcr.io/ca.crt": File(self._home.authority().certificate),
        }
        for login, number in LOGINS.items():
            files[f"/home/{login}/.ssh/authorized_keys"] = File(public.content, mode=0o600, owner=number)
        return files


def _greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _resolver(path: Path = Path("/etc/resolv.conf")) -> tuple[str, ...]:
    """Give the host this machine's name servers directly.

    The Engine's own lives in NAT rules of the container, which a host's firewall and Docker are free to change.
    """
    servers = [line.split()[1] for line in path.read_text().splitlines() if line.startswith("nameserver ")]
    if not servers or any(ipaddress.ip_address(server.split("%")[0]).is_loopback for server in servers):
        return ()
    return ("--volume", f"{path}:/etc/resolv.conf:ro")
