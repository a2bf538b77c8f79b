"""Steps that lab tests share: the verbs as a user types them, in a repository of the test's own."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from toolkit.lab import Lab
from toolkit.lab.hosts import Vps

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Said:
    """What a verb left behind."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.out}\n{self.err}"


@dataclass(frozen=True)
class Repository:
    """A folder with `hosts/`, an example and the verbs, for one lab host called `box`."""

    root: Path
    lab: Lab
    vps: Vps
    name: str = "taskflow"
    env: dict[str, str] = field(default_factory=dict)

    def invoke(self, *words: str, given: str = "") -> Said:
        """Run `invoke words` to its end, with nobody at the terminal; `given` is its standard input."""
        done = self.start(*words)
        out, err = done.communicate(given, timeout=600)
        return Said(done.returncode, out, err)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start `invoke words` and leave it running."""
        return subprocess.Popen(
            [sys.executable, "-m", "invoke", *words],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(ROOT), **self.env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def done(self, *words: str) -> Said:
        """Run a verb that must succeed."""
        said = self.invoke(*words)
        assert said.code == 0, said
        return said

    def fed(self, given: str, *words: str) -> Said:
        """Run a verb that must succeed, with a value on its standard input."""
        said = self.invoke(*words, given=given)
        assert said.code == 0, said
        return said

    def change(self, change: "Any") -> None:
        """Let a function change the host file's content."""
        path = self.root / "hosts/box.yml"
        content = yaml.safe_load(path.read_text())
        change(content)
        path.write_text(yaml.safe_dump(content))

    @property
    def stack(self) -> Path:
        return self.root / "examples" / self.name

    def on_host(self, script: str) -> str:
        """Run a script on the host as root, past the toolkit by plain ssh: a test believes nothing that it tests."""
        # Not by `docker exec`: once an Engine runs inside a guest, its cgroup takes no further process from outside.
        words = self.lab.ssh_command(self.vps, "sudo", "sh", "-s")
        done = subprocess.run(words, input=script, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, (script, done.stdout, done.stderr)
        return done.stdout

    def containers(self) -> dict[str, str]:
        """Return the ids of the stack's containers by name."""
        rows = self.on_host(
            "docker ps --all --no-trunc --format '{{.Names}} {{.ID}}' "
            f"--filter label=com.docker.compose.project={self.name}"
        )
        return dict(line.split() for line in rows.splitlines())


def until(condition: str, repo: Repository, seconds: float = 120) -> None:
    """Wait until a script on the host succeeds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if repo.on_host(f"if {{ {condition}; }} >/dev/null 2>&1; then echo yes; fi") == "yes\n":
            return
        time.sleep(1)
    raise AssertionError(f"never came true: {condition}")


def repository(folder: Path, lab: Lab, vps: Vps, example: Path = ROOT / "examples/taskflow") -> Repository:
    """Make a repository with a copy of an example and the lab's host file for one host."""
    (folder / "hosts").mkdir(parents=True)
    shutil.copytree(example, folder / "examples" / example.name)
    shutil.copy(ROOT / "tasks.py", folder / "tasks.py")
    shutil.copy(lab.host_file(vps.name), folder / "hosts/box.yml")
    (folder / ".lab").symlink_to(ROOT / ".lab")
    return Repository(folder, lab, vps, example.name)
