"""An Engine that answers: the one that runs, or, for root on Debian, one that is installed and started here."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.lab.engine import Engine, finish
from toolkit.words.clock import Clock
from toolkit.words.command import command
from toolkit.words.errors import LabError
from toolkit.words.report import Listener

STALE = {Path("/var/run/docker.pid"): "dockerd", Path("/var/run/docker/containerd/containerd.pid"): "containerd"}
LOG = Path("/var/log/dockerd-lab.log")


def ensure_engine(engine: Engine, listener: Listener, clock: Clock) -> None:
    """Return once `docker version` answers; raises LabError that says exactly what is missing."""
    if _complaint(engine) is None:
        return
    with one_at_a_time("engine"):
        _have_engine(engine, listener, clock)


def _have_engine(engine: Engine, listener: Listener, clock: Clock) -> None:
    complaint = _complaint(engine)
    if complaint is None:
        return
    if not (_is_root_on_debian() and "DOCKER_HOST" not in os.environ):
        raise LabError(f"no Docker Engine answers: {complaint}", hint=_advice())
    if not (shutil.which("dockerd") and shutil.which("docker")):
        install("docker.io", listener=listener)
    _start(listener)
    _wait(engine, clock)


@contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Hold, across the labs of this user, what they share on this machine; the lock ends with its holder."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "toolkit/lab"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name.replace('/', '-')}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install(*packages: str, listener: Listener) -> None:
    """Install Debian packages on this machine; only root on Debian gets here."""
    listener.line(f"installing {', '.join(packages)} with apt")
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    finish(command("apt-get", "update", "-qq"))
    wanted = command("apt-get", "install", "-y", "-qq", "-o", "DPkg::Lock::Timeout=300", *packages, env=environment)
    result = finish(wanted)
    if not result.ok:
        raise LabError(f"apt-get could not install {', '.join(packages)}: {result.complaint}")


def forget_stale_pids(pid_files: dict[Path, str]) -> list[Path]:
    """Remove each pid file whose process is gone or has become another program; dockerd would not start over it."""
    removed = []
    for path, program in pid_files.items():
        if path.exists() and _program(path.read_text().strip()) != program:
            path.unlink()
            removed.append(path)
    return removed


def _program(pid: str) -> str:
    try:
        name, _, rest = Path(f"/proc/{int(pid)}/stat").read_text().partition("(")[2].rpartition(")")
    except (ValueError, OSError):
        return ""
    # A zombie keeps its name until somebody reaps it, and in a container nobody may.
    return "" if rest.split()[0] == "Z" else name


def _complaint(engine: Engine) -> str | None:
    result = engine.ask("version", "--format", "{{.Server.Version}}", timeout=30)
    return None if result.ok and result.text.strip() else result.complaint or "no answer"


def _is_root_on_debian() -> bool:
    return os.geteuid() == 0 and Path("/etc/debian_version").exists()


def _advice() -> str:
    if shutil.which("docker") is None:
        return "install Docker (on Debian and Ubuntu: sudo apt install docker.io) and join the group docker"
    return "start Docker (sudo systemctl start docker), and check that you may use it (groups should list docker)"


def _start(listener: Listener) -> None:
    listener.line("starting the Docker Engine")
    if Path("/run/systemd/system").exists():
        finish(command("systemctl", "start", "docker"))
        return
    forget_stale_pids(STALE)
    with LOG.open("ab") as log:
        subprocess.Popen(["dockerd"], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)


def _wait(engine: Engine, clock: Clock, *, within: float = 60) -> None:
    deadline = clock.now() + within
    while (complaint := _complaint(engine)) is not None:
        if clock.now() > deadline:
            raise LabError(f"the Docker Engine did not start: {complaint}", hint=f"read {LOG} or journalctl -u docker")
        clock.sleep(0.5)
