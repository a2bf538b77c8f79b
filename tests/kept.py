"""A lab host whose stack is backed up to the lab's S3: what tests of restores and recoveries begin with."""

import secrets
import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.steps import ROOT, Repository, Said, repository
from toolkit.crypto import age
from toolkit.lab import Lab
from toolkit.lab.hosts import Vps
from toolkit.lab.images import publish
from toolkit.lab.services import S3

OPERATOR, HOST = "arn:aws:iam:::user/operator", "arn:aws:iam:::user/host"

# A service that writes a numbered file every so often, whole or not at all, into a volume of its own.
SCRIBE = """
services:
  scribe:
    image: ghcr.io/acme/taskflow-worker:1.0.0
    user: "0:0"
    restart: unless-stopped
    networks: [backend]
    volumes: ["files:/files"]
    command:
      - python3
      - -c
      - |
        import itertools, os, time
        for number in itertools.count(len(os.listdir("/files"))):
            with open("/tmp/draft", "w") as draft:
                draft.write(f"file {number}\\n" * 100)
            os.replace("/tmp/draft", "/tmp/whole")
            with open("/tmp/whole") as whole, open(f"/files/.{number}", "w") as out:
                out.write(whole.read())
            os.rename(f"/files/.{number}", f"/files/{number}")
            time.sleep(0.5)
volumes:
  files:
"""
_WRITE = """
import json, ssl, time, urllib.request
context = ssl._create_unverified_context()
number = 0
while True:
    number += 1
    body = json.dumps({"title": f"task {number}"}).encode()
    request = urllib.request.Request("https://127.0.0.1/tasks", body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:
            print(json.loads(answer.read())["id"], time.time(), flush=True)
    except OSError:
        pass
    time.sleep(0.02)
"""


@dataclass
class Kept:
    """A repository of verbs with one host, an operator's identity, and a bucket."""

    repo: Repository
    s3: S3
    folder: Path

    def save(self) -> Any:
        """Back the stack up on its host, and believe its key; return what was said."""
        said = self.repo.done("backup", "--host", "box", "--json").data
        assert said["result"] == "complete", said
        if not (self.repo.root / "backups/box.head").exists():
            self.repo.done("backup.trust", "--host", "box")
        return said

    def restore(self, *words: str) -> Said:
        return self.repo.invoke("restore", "--host", "box", "--yes", *words)

    def rows(self, sql: str) -> list[str]:
        """What the stack's database says, past the toolkit."""
        return self.repo.on_host(f'docker exec taskflow-db-1 psql -U taskflow -Atc "{sql}"').split("\n")[:-1]

    def replacement(self, name: str, *, stocked: bool = False) -> Repository:
        """Have a bare host, described in hosts/replacement.yml, and return how to look at it."""
        vps = self.repo.lab.host(name, "debian13", self.repo.name, stocked=stocked)
        shutil.copy(self.repo.lab.host_file(name), self.repo.root / "hosts/replacement.yml")
        return Repository(self.repo.root, self.repo.lab, vps, self.repo.name, self.repo.env)

    def adopt(self, fresh: Repository) -> None:
        """Let the host's file name the machine that took its place, as a person does."""
        found = yaml.safe_load((self.repo.root / "hosts/replacement.yml").read_text())
        self.repo.change(lambda content: content.update(connection=found["connection"]))
        (self.repo.root / "hosts/replacement.yml").unlink()
        self.repo = fresh


def kept(folder: Path, lab: Lab, s3: S3, vps: Vps) -> Kept:
    """Publish taskflow's images, provision a host, deploy there with a scribe, and make a bucket ready."""
    example = ROOT / "examples/taskflow"
    publish(lab, example)
    repo = repository(folder / "repo", lab, vps, example)
    (repo.stack / "scribe.yaml").write_text(SCRIBE)
    files = ["compose.yaml", "compose.prod.yaml", "scribe.yaml"]
    repo.change(lambda content: content["stack"].update(files=files))
    operator, escrow = age.new_identity(), age.new_identity()
    for name, value in (("identity", operator), ("escrow", escrow)):
        (folder / name).write_bytes(value.reveal() + b"\n")
        (folder / name).chmod(0o600)
    repo.env.update(TOOLKIT_IDENTITY=str(folder / "identity"), HOME=str(folder))
    for who, (access, secret) in (("S3", s3.operator), ("HOST", s3.host)):
        repo.env.update({f"{who}_USER": access, f"{who}_SECRET": secret.reveal().decode()})
    described = {
        "repository": {
            "url": f"s3://test-{secrets.token_hex(6)}/site?endpoint=http://{lab.address('s3')}:8080",
            "operator": {"access_key": "env:S3_USER", "secret_key": "env:S3_SECRET", "name": OPERATOR},
            "host": {"access_key": "env:HOST_USER", "secret_key": "env:HOST_SECRET", "name": HOST},
        },
        "recipients": [age.recipient_of(operator), age.recipient_of(escrow)],
        "lock": False,
        "schedule": False,
    }
    (repo.root / "backups").mkdir()
    (repo.root / "backups/box.yml").write_text(yaml.safe_dump(described))
    repo.invoke("backup.init", "--host", "box", "--create", "--fix")
    repo.done("provision", "--host", "box")
    repo.done("deploy", "--host", "box")
    return Kept(repo, s3, folder)


class Writer:
    """Makes tasks through the stack's own door until the host is gone; each is a row, and a job that finishes it."""

    def __init__(self, kept: Kept) -> None:
        words = kept.repo.lab.ssh_command(kept.repo.vps, "sudo", "python3", "-u", "-")
        self.made: list[int] = []
        self._child = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Writer":
        assert self._child.stdin is not None
        self._child.stdin.write(_WRITE)
        self._child.stdin.close()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._thread.join(timeout=60)
        self._child.wait()

    def _run(self) -> None:
        assert self._child.stdout is not None
        with self._child.stdout as lines:
            self.made.extend(int(line.split()[0]) for line in lines)
