"""The contenders: the toolkit, Ansible and pyinfra with the same wanted state, and the floor under all of them.

The peers live in a virtual environment of their own, made here with pinned versions. Each contender runs as a whole
process, and each says itself that it found nothing to change; one that says otherwise ends the benchmark.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import measure
from benchmarks.ground import ROOT, STACK, Ground
from benchmarks.measure import Sample

VERSIONS = ("ansible==12.3.0", "ansible-core==2.19.14", "pyinfra==3.10.0")
PEERS = ROOT / "benchmarks" / "peers"
INVOKE = str(Path(sys.executable).with_name("invoke"))

# What nobody can do without: log in, look at packages, sshd, services and rules, resolve the stack, list what runs.
FLOOR = """
dpkg-query --show --showformat '${Package} ${db:Status-Status} ${Version}\\n' >/dev/null
sshd -T >/dev/null
systemctl is-active --quiet ssh docker toolkit-firewall apt-daily.timer apt-daily-upgrade.timer
nft list table inet toolkit >/dev/null
docker compose --project-directory /opt/peers config --quiet
docker compose --project-directory /opt/peers ps --quiet >/dev/null
"""


@dataclass(frozen=True)
class Contender:
    """A way to have the host as wanted: what it runs, and what it says when it found nothing to do."""

    shown: str
    start: Callable[[], Sample]
    settled: str

    def __call__(self) -> Sample:
        sample = self.start()
        if not re.search(self.settled, sample.output):
            raise SystemExit(f"{self.shown}: expected {self.settled!r} in its output:\n{sample.output[-4000:]}")
        return sample


class Contenders:
    """All of them for one ground, once as close as it is and once behind a slow link."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._peers = ground.folder / "peers"
        self._install()

    def all(self, host: str, port: int) -> dict[str, Contender]:
        """Return the contenders for the host file of this name, which leads to this port."""
        self._write_inventories(host, port)
        return {
            "this toolkit": self.toolkit(host),
            "Ansible": self.ansible(host),
            "pyinfra": self.pyinfra(host),
            "bare floor": self.floor(port),
        }

    def toolkit(self, host: str) -> Contender:
        argv = (INVOKE, "deploy", "--host", host, "--provision")
        done = r"(?s)^0 changes made.*nothing to do"
        return Contender(f"invoke {' '.join(argv[1:])}", partial(measure.run, argv, cwd=ROOT), f"(?m){done}")

    def ansible(self, host: str) -> Contender:
        done = r"changed=0\s+unreachable=0\s+failed=0"
        return Contender("ansible-playbook --inventory … playbook.yml", partial(self._ansible, host), done)

    def pyinfra(self, host: str) -> Contender:
        argv = (self._bin("pyinfra"), "-y", str(self._inventory(host, "py")), str(PEERS / "deploy.py"))
        # One operation runs always: pyinfra has none for Compose.
        start = partial(measure.run, argv, cwd=self._ground.folder)
        return Contender("pyinfra -y inventory.py deploy.py", start, r"Grand total\s+\d+\s+1\s+-\s")

    def floor(self, port: int) -> Contender:
        vps, known = self._ground.vps, f"UserKnownHostsFile={self._known_hosts}"
        ssh = ("ssh", "-p", str(port), "-i", str(vps.identity), "-o", known, "-o", "IdentitiesOnly=yes")
        argv = (*ssh, f"{vps.user}@127.0.0.1", "sudo", "sh", "-ec", shlex.quote(FLOOR))
        start = partial(measure.run, argv, cwd=ROOT)
        return Contender("ssh host sudo sh -c '…'", start, "")

    def converge_peers(self, host: str, port: int) -> None:
        """Let the peers bring up what they bring up in their own way, so that next time they find nothing to do."""
        self._write_inventories(host, port)
        self._ansible(host)
        self.pyinfra(host).start()

    def _ansible(self, host: str) -> Sample:
        # Ansible keeps connections for a minute; a control path of its own makes each run log in, as the others do.
        with tempfile.TemporaryDirectory(prefix="ansible-") as control:
            env = {
                "ANSIBLE_HOME": str(self._ground.folder / "ansible"),
                "ANSIBLE_PIPELINING": "1",
                "ANSIBLE_SSH_CONTROL_PATH_DIR": control,
                "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
                "LC_ALL": "C.UTF-8",
            }
            argv = (self._bin("ansible-playbook"), "--inventory", str(self._inventory(host, "json")))
            return measure.run((*argv, str(PEERS / "playbook.yml")), cwd=self._ground.folder, env=env)

    def _write_inventories(self, host: str, port: int) -> None:
        vps, state = self._ground.vps, str(self._ground.state)
        known = self._known_hosts
        known.write_text(f"[127.0.0.1]:{port} {vps.host_key}\n")
        shared = {"state": state, "stack": str(STACK)}
        ansible = {
            "ansible_host": "127.0.0.1",
            "ansible_port": port,
            "ansible_user": vps.user,
            "ansible_ssh_private_key_file": str(vps.identity),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={known}",
        }
        inventory = {"all": {"hosts": {host: ansible | shared}}}
        self._inventory(host, "json").write_text(json.dumps(inventory, indent=2))
        pyinfra = {
            "ssh_port": port,
            "ssh_user": vps.user,
            "ssh_key": str(vps.identity),
            "ssh_known_hosts_file": str(known),
            "_sudo": True,
        }
        self._inventory(host, "py").write_text(f"hosts = [('127.0.0.1', {pyinfra | shared!r})]\n")

    def _inventory(self, host: str, suffix: str) -> Path:
        return self._ground.folder / f"{host}.{suffix}"

    @property
    def _known_hosts(self) -> Path:
        return self._ground.folder / "known_hosts"

    def _bin(self, name: str) -> str:
        return str(self._peers / "bin" / name)

    def _install(self) -> None:
        ready = self._peers / "ready"
        if ready.exists() and ready.read_text() == repr(VERSIONS):
            return
        shutil.rmtree(self._peers, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", self._peers], check=True)
        # Ansible brings thousands of modules; those in use are compiled by the first run.
        options = ("--quiet", "--no-compile", "--disable-pip-version-check")
        subprocess.run([self._bin("pip"), "install", *options, *VERSIONS], check=True)
        ready.write_text(repr(VERSIONS))
