"""The trial stack on a lab host: releases that differ by number, and what runs of them, seen past the toolkit."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.steps import ROOT, Repository, Said, repository
from toolkit.lab import Lab
from toolkit.lab.hosts import Vps
from toolkit.lab.images import publish

STACK = ROOT / "tests/lab/trial"
PHASES = ("preflight", "pull", "secrets", "one-shots", "stateful", "stateless", "gate", "switch", "prune")
# How many containers say of which release they are: db, two of web, fixed.
MARKED = 4

# Waits until the driver is in a phase; then runs what it was given, with the driver's process id as $pid.
_AT_PHASE = """
state=/run/toolkit/trial/driver.json
end=$(($(date +%s) + 60))
while :; do
  if grep -q '"phase": "{phase}"' $state 2>/dev/null && ! flock --nonblock /run/toolkit/trial/lock true; then break; fi
  [ "$(date +%s)" -lt $end ] || exit 9
  sleep 0.01
done
pid=$(sed -n 's/.*"pid": \\([0-9]*\\).*/\\1/p' $state)
{then}
"""


@dataclass(frozen=True)
class Trial:
    """One host that runs the trial stack."""

    repo: Repository

    def want(self, release: int, **variables: str) -> None:
        """Let the host file ask for a release; variables not named have their defaults."""
        wanted = {"RELEASE": str(release), **variables}
        self.repo.change(lambda content: content["stack"].update(variables=wanted))

    def deploy(self, release: int, *words: str, **variables: str) -> Said:
        self.want(release, **variables)
        return self.repo.invoke("deploy", "--host", "box", *words)

    def releases(self) -> list[str]:
        """Return the release that each marked container says it is of, running ones only."""
        script = """docker ps --quiet --filter label=com.docker.compose.project=trial |
            xargs --no-run-if-empty docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' |
            sed -n 's/^RELEASE=//p'"""
        return self.repo.on_host(script).split()

    def runs_whole(self) -> int:
        """Return the release that runs, all of it and nothing else; fails where that is none, or two."""
        found = self.releases()
        assert len(found) == MARKED, (found, self.repo.on_host("docker ps --all"))
        assert len(set(found)) == 1, (found, self.repo.on_host("docker ps --all"))
        return int(found[0])

    def unlocked(self) -> bool:
        return self.repo.on_host("flock --nonblock /run/toolkit/trial/lock echo free || true").strip() == "free"

    def settled(self, seconds: float = 120) -> None:
        """Wait until nobody is at work and nothing is left half-way."""
        deadline = time.monotonic() + seconds
        mark = "/var/lib/toolkit/deploys/trial/transaction.json"
        free = f"[ ! -e {mark} ] && flock --nonblock /run/toolkit/trial/lock echo free || true"
        while self.repo.on_host(free).strip() != "free":
            assert time.monotonic() < deadline, self.repo.on_host(
                "tail /var/lib/toolkit/deploys/trial/*.jsonl | tail -30"
            )
            time.sleep(0.5)

    @contextmanager
    def when(self, phase: str, then: str) -> Iterator[None]:
        """Run a line of shell on the host the moment the driver enters a phase."""
        words = self.repo.lab.ssh_command(self.repo.vps, "sudo", "sh", "-s")
        text = _AT_PHASE.format(phase=phase, then=then)
        child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert child.stdin is not None
        child.stdin.write(text.encode())
        child.stdin.close()
        try:
            yield
        finally:
            assert child.stdout is not None
            said = child.stdout.read()
            assert child.wait(timeout=90) in (0, 255), (phase, then, said)

    def state(self) -> Any:
        return json.loads(self.repo.on_host("/opt/toolkit/current/bin/agent deploy state trial"))


def trial(folder: Path, lab: Lab, vps: Vps) -> Trial:
    """Publish the stack's images, provision a host and deploy release 1."""
    publish(lab, STACK)
    repo = repository(folder, lab, vps, STACK)
    (repo.root / "trial-password").write_text("trial-canary-4711")
    stack = {
        "name": "trial",
        "directory": "examples/trial",
        "secrets": {"trial_password": "command:cat trial-password"},
        "variables": {"RELEASE": "1"},
        "drain": "2s",
        "gate": {"steady": "1s"},
    }
    repo.change(lambda content: content.update(stack=stack))
    repo.done("provision", "--host", "box")
    repo.done("deploy", "--host", "box")
    return Trial(repo)


class Load:
    """Asks a web server on the host fifty times a second, and counts what it did not answer."""

    def __init__(self, trial: Trial, *ports: int) -> None:
        self._trial = trial
        self._ports = ports
        self.result: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Load":
        self._trial.repo.on_host("rm -f /run/load-stop")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._trial.repo.on_host("touch /run/load-stop")
        self._thread.join(timeout=60)

    def _run(self) -> None:
        words = self._trial.repo.lab.ssh_command(self._trial.repo.vps, "sudo", "python3", "-", *map(str, self._ports))
        program = (ROOT / "tests/load.py").read_bytes()
        done = subprocess.run(words, input=program, capture_output=True, check=False)
        self.result = json.loads(done.stdout) if done.stdout else {"error": done.stderr.decode()}
