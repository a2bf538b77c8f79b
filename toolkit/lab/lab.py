"""The lab: disposable hosts, a registry, S3 and an apt repository on this machine, as real as containers allow.

Everything is idempotent: whatever an interrupt or a restart of the machine left behind, `up` makes it whole. One
process changes a lab at a time; others wait.
"""

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from toolkit.lab import backupfile, boxes, frozen, hostfile, network, services
from toolkit.lab.daemon import ensure_engine
from toolkit.lab.engine import Engine
from toolkit.lab.home import EXAMPLE, Home, State
from toolkit.lab.hosts import Hosts, Vps
from toolkit.lab.mirror import SUITES
from toolkit.lab.pictures import Pictures
from toolkit.words.clock import Clock, SystemClock
from toolkit.words.errors import LabError
from toolkit.words.report import Listener, Silent

DEFAULT_SERVICES = ("registry", "s3")


@dataclass(frozen=True)
class PartStatus:
    """One row of `lab.status`."""

    part: str
    state: str
    address: str
    reach: str
    detail: str


class Lab:
    """The lab of one checkout."""

    def __init__(self, root: Path, *, listener: Listener | None = None, clock: Clock | None = None) -> None:
        self.home = Home(root)
        self.engine = Engine()
        self._listener = listener or Silent()
        self._clock = clock or SystemClock()
        self.pictures = Pictures(self.engine, self._listener)
        self._hosts = Hosts(self.engine, self.home, self.pictures, self._listener, self._clock)

    @classmethod
    def of(cls, root: Path, listener: Listener | None = None) -> Self:
        """Return the lab that belongs to this checkout, running or not."""
        return cls(root, listener=listener)

    def up(
        self, hosts: int = 1, os: str = "debian13", services: Collection[str] = DEFAULT_SERVICES, example: str = ""
    ) -> list[Vps]:
        """Have the services and the hosts vps1, vps2… running, and return the hosts.

        Their host files have the stack of an example: this one from now on, where one is named.
        """
        names = [f"vps{number}" for number in range(1, hosts + 1)]
        with self._changing() as state:
            state.example = example or state.example
            jobs = [self._service_job(state, name) for name in services]
            jobs += [self._host_job(state, name, os, state.example) for name in names]
            self._together(state, jobs)
            return [self._hosts.find(state, name) for name in names]

    def host(self, name: str, os: str = "debian13", example: str = EXAMPLE, *, stocked: bool = False) -> Vps:
        """Have one more host running under this name, and return it; its host file has the stack of an example.

        A stocked host has all packages that provisioning installs: for work that begins behind that.
        """
        with self._changing() as state:
            self._together(state, [self._host_job(state, name, os, example, stocked=stocked)])
            return self._hosts.find(state, name)

    def vps(self, name: str = "vps1") -> Vps:
        """Return a host that was brought up before."""
        state = self.home.state()
        if name not in state.hosts:
            known = ", ".join(sorted(state.hosts)) or "none"
            raise LabError(f"the lab has no host {name}", hint=f"hosts: {known}; invoke lab.up makes some")
        return self._hosts.find(state, name)

    def remove(self, name: str) -> None:
        """Remove one host, its disk, its key and its host file."""
        with self._changing() as state:
            self._hosts.remove(state, name)
            hostfile.path_of(self.home.root, name).unlink(missing_ok=True)

    def lose(self, name: str) -> None:
        """Remove one host with its disk and key, as a fire would: its host file stays, and names nobody."""
        self.vps(name)
        with self._changing() as state:
            self._hosts.remove(state, name)

    def backup_file(self, host: str) -> Path:
        """Write the backup file of a host, with a bucket of this lab's S3 and its example's policy; return it."""
        return backupfile.write(self.home, self.s3(), host, self.home.state().example)

    def down(self, *, images: bool = False) -> None:
        """Remove everything this lab made; its images, which other checkouts use too, only when asked."""
        with self._held():
            for name in self.home.state().hosts:
                hostfile.path_of(self.home.root, name).unlink(missing_ok=True)
            backupfile.remove(self.home)
            for kind in ("container", "volume", "network"):
                if names := self.engine.labelled(kind, self.home.label):
                    self._listener.line(f"removing {', '.join(names)}")
                    if kind == "container":
                        frozen.thaw(self.engine, *names)
                    self.engine.run(kind, "rm", *(() if kind == "network" else ("--force",)), *names)
            if images:
                self.pictures.forget()
            self.home.forget()

    def reboot(self, name: str = "vps1") -> Vps:
        """Switch a host off and on again: its `/run` is empty, its disk is not."""
        vps = self.vps(name)
        self.engine.run("restart", vps.container)
        self._hosts.wait(vps)
        return vps

    def start_service(self, name: str) -> None:
        """Have one service running."""
        with self._changing() as state:
            self._together(state, [self._service_job(state, name)])

    def stop_service(self, name: str) -> None:
        """Stop one service, as an outage would; its data stays."""
        self.engine.run("stop", self.home.name(_known(name)))

    def status(self) -> list[PartStatus]:
        """Return what the lab has: services first, then hosts."""
        state = self.home.state()
        parts = [name for name in services.SERVICES if self.engine.inspect("container", self.home.name(name))]
        return [self._row(state, part) for part in [*parts, *sorted(state.hosts)]]

    def s3(self) -> services.S3:
        """Return the endpoints and users of the object store."""
        return services.s3_access(self.engine, self.home, self.home.state())

    def address(self, part: str) -> str:
        """Return the address of a service or host on the lab's network."""
        return network.address_of(self.home.state(), part)

    def port(self, part: str, inside: int) -> int:
        """Return the loopback port that leads to a service's port: `port("registry", 443)`."""
        return network.port_of(self.home.state(), f"{part}-{inside}")

    def host_file(self, name: str) -> Path:
        """Return the path of a host's host file."""
        return hostfile.path_of(self.home.root, name)

    def ssh_command(self, vps: Vps, *more: str, user: str = "") -> tuple[str, ...]:
        """Return the command line of plain ssh to a host, its key checked against the one the lab put there."""
        known = self.home.folder / "known_hosts"
        options = ("-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes")
        return ("ssh", "-p", str(vps.port), "-i", str(vps.identity), *options, f"{user or vps.user}@127.0.0.1", *more)

    @contextmanager
    def _held(self) -> Iterator[None]:
        with self.home.locked(lambda: self._listener.line("waiting: another process is changing the lab")):
            ensure_engine(self.engine, self._listener, self._clock)
            yield

    @contextmanager
    def _changing(self) -> Iterator[State]:
        """Change the lab, with an Engine and a network at hand, and remember what was chosen even on failure."""
        with self._held():
            state = self.home.state()
            network.ensure_network(self.engine, self.home, state)
            self.home.ssh_key()
            self.home.authority()
            try:
                yield state
            finally:
                self.home.remember(state)
                self._write_known_hosts(state)

    def _together(self, state: State, jobs: Collection[Callable[[], None]]) -> None:
        # Addresses and ports were chosen before, by the jobs' makers; a crash from here on finds them again.
        self.home.remember(state)
        with ThreadPoolExecutor(max_workers=4) as pool:
            outcomes = [pool.submit(job) for job in jobs]
            try:
                wait(outcomes)
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        for outcome in outcomes:
            outcome.result()

    def _service_job(self, state: State, name: str) -> Callable[[], None]:
        service = services.SERVICES[_known(name)]
        service.box(self.home, state, "")

        def job() -> None:
            box = service.box(self.home, state, self.pictures.recipe(name, service.suite))
            if boxes.ensure(self.engine, box):
                self._listener.line(f"starting {name}")
            services.wait(self.engine, box.name, service, self._clock)

        return job

    def _host_job(self, state: State, name: str, os: str, example: str, *, stocked: bool = False) -> Callable[[], None]:
        if os not in SUITES:
            raise LabError(f"the lab has no {os}", hint=f"choose one of: {', '.join(SUITES)}")
        self._hosts.find(state, name, os)

        def job() -> None:
            vps = self._hosts.ensure(state, name, os, stocked=stocked)
            hostfile.write(self.home, state, vps, example)
            self._listener.line(f"{name} runs {os} at {vps.address}, ssh on port {vps.port}")

        return job

    def _row(self, state: State, part: str) -> PartStatus:
        found = self.engine.inspect("container", self.home.name(part))
        detail = f"{state.hosts[part]}, {state.ways.get(state.hosts[part], '')}" if part in state.hosts else "service"
        return PartStatus(
            part=part,
            state=found["State"]["Status"] if found else "missing",
            address=network.address_of(state, part),
            reach=" ".join(_reaches(state, part)),
            detail=detail,
        )

    def _write_known_hosts(self, state: State) -> None:
        rows = (self._hosts.find(state, name) for name in state.hosts)
        self.home.keep("known_hosts", "".join(f"[127.0.0.1]:{vps.port} {vps.host_key}\n" for vps in rows))


def _reaches(state: State, part: str) -> Iterator[str]:
    """Yield where a part answers on loopback, with its own port behind the arrow."""
    for key, port in state.ports.items():
        owner, _, inside = (f"{key}-22" if key in state.hosts else key).rpartition("-")
        if owner == part:
            yield f"127.0.0.1:{port}→{inside}"


def _known(name: str) -> str:
    if name not in services.SERVICES:
        raise LabError(f"the lab has no service {name}", hint=f"services: {', '.join(services.SERVICES)}")
    return name
