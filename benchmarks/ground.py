"""The ground that all contenders meet on: one host of the lab, its two host files, and what stands on it.

The toolkit brings the host to where `HOST_FILE` says. The files it wrote there are then fetched, so that its peers
can be asked for exactly the same content.
"""

import subprocess
from pathlib import Path

from toolkit.lab import Lab
from toolkit.lab.hosts import Vps
from toolkit.lab.images import publish

ROOT = Path(__file__).resolve().parent.parent
STACK = ROOT / "benchmarks" / "stack"
NAME = "bench"

HOST_FILE = """# Written by benchmarks/converge.py; it is removed with the host.
connection:
  address: 127.0.0.1
  port: {port}
  user: {user}
  identity: {identity}
  host_key: {host_key}
machine:
  packages: [htop]
  docker:
    source: distro
    daemon:
      registry-mirrors: ["http://{registry}:5000"]
  firewall: {{open: [80, 443]}}
  swap: false  # a container has no swap of its own
  users:
    - {{name: deploy, keys: ["{host_key} deploy@laptop"], sudo: true}}
stack:
  name: bench
  directory: benchmarks/stack
"""

# All that the toolkit writes for this host file and a peer can write as well.
WRITTEN = (
    "/etc/apt/apt.conf.d/99toolkit-updates",
    "/etc/docker/daemon.json",
    "/etc/ssh/sshd_config.d/00-toolkit.conf",
    "/etc/sudoers.d/toolkit-deploy",
    "/etc/sysctl.d/99-toolkit.conf",
    "/etc/systemd/journald.conf.d/99-toolkit.conf",
    "/etc/systemd/system/nftables.service.d/toolkit.conf",
    "/etc/systemd/system/toolkit-firewall.service",
    "/etc/toolkit/firewall.nft",
    "/home/deploy/.ssh/authorized_keys",
)


class Ground:
    """The lab of this checkout with a host of our own in it; what else the lab has is left alone."""

    def __init__(self) -> None:
        self.lab = Lab.of(ROOT)
        self.folder = ROOT / ".lab" / "benchmarks"
        self.lab.start_service("registry")
        publish(self.lab, STACK)
        self.folder.mkdir(exist_ok=True)

    @property
    def vps(self) -> Vps:
        return self.lab.vps(NAME)

    @property
    def state(self) -> Path:
        """Where the files are that the toolkit wrote on the host."""
        return self.folder / "state"

    def fresh(self) -> None:
        """Have a host that nobody has touched, and its host file."""
        self.lab.remove(NAME)
        self.lab.host(NAME)
        self.describe("lab-bench", self.vps.port)

    def describe(self, name: str, port: int) -> None:
        """Write a host file that reaches the host through this port."""
        vps = self.vps
        text = HOST_FILE.format(
            port=port,
            user=vps.user,
            identity=vps.identity,
            host_key=vps.host_key,
            registry=self.lab.address("registry"),
        )
        (ROOT / "hosts" / f"{name}.yml").write_text(text)

    def ssh(self, script: str) -> bytes:
        """Run a script as root over plain ssh and return its output."""
        argv = self.lab.ssh_command(self.vps, "sudo", "sh", "-s")
        return subprocess.run(argv, input=script.encode(), capture_output=True, check=True).stdout

    def packages(self) -> set[str]:
        """Return the installed packages."""
        return set(self.ssh("dpkg-query --show --showformat '${Package}\\n'").decode().split())

    def logins(self) -> int:
        """Return how many logins sshd has accepted; the one that asks is the last of them."""
        return int(self.ssh("journalctl --quiet --output cat | grep --count '^Accepted publickey'"))

    def fetch_written(self) -> None:
        """Bring the files that the toolkit wrote to where its peers take them from."""
        self.state.mkdir(exist_ok=True)
        names = " ".join(path.lstrip("/") for path in WRITTEN)
        archive = self.ssh(f"tar --create --directory / --file - {names}")
        subprocess.run(["tar", "--extract", "--directory", self.state, "--file", "-"], input=archive, check=True)

    def remove(self) -> None:
        """Take the host and its host files away."""
        (ROOT / "hosts" / "lab-bench-far.yml").unlink(missing_ok=True)
        self.lab.remove(NAME)
