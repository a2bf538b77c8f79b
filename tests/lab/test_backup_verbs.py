"""The verbs of backups as a person types them, on a real server with object lock: docs/backup.md from top to bottom."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from invoke.collection import Collection

from tests.repository_setup import look, noise
from toolkit.config.load import load
from toolkit.crypto import age
from toolkit.lab.services import S3
from toolkit.repository import Options, Origin, Report, Terms, Tree, backup
from toolkit.store.s3 import S3Store
from toolkit.vault import recipients
from toolkit.vault.identity import Keyring
from toolkit.verbs.program import namespace
from toolkit.words.values import Duration, Secret
from toolkit.workflows import secrets as vault
from toolkit.workflows.backups import Backups

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "backup.md").read_text()
BLOCKS = re.findall(r"^ *```(sh[a-z ]*|yaml[a-z ]*)\n(.*?)^ *```", PAGE, re.MULTILINE | re.DOTALL)
KINDS = {"sh", "sh stack", "yaml stack", "sh host", "sh server", "sh copy", "sh damaged", "yaml"}
OPERATOR, HOST = "arn:aws:iam:::user/operator", "arn:aws:iam:::user/host"
WORKED_AROUND = 3


class Desk:
    """A person's repository and environment, and the host that backs up; no credential may ever show."""

    def __init__(self, folder: Path, s3: S3) -> None:
        self.folder, self.root, self.s3 = folder, folder / "repository", s3
        self.bucket = f"test-{secrets.token_hex(6)}"
        self.escrow = age.new_identity()
        self.environ = self._environ()
        for path in (self.root / "hosts", self.root / "backups", folder / "tree" / "orders", folder / "tree" / "cache"):
            path.mkdir(parents=True)
        shutil.copy(ROOT / "tasks.py", self.root)
        (self.root / "hosts" / "prod.yml").write_text("connection: local\n")
        vault.init(self.root, Keyring(self.environ), escrow=age.recipient_of(self.escrow))
        subprocess.run(["git", "init", "--quiet", str(self.root)], check=True)
        self.change(1)

    def _environ(self) -> dict[str, str]:
        tools = self.folder / "bin"
        tools.mkdir(parents=True)
        for name, value in (("operator", self.s3.operator[1]), ("escrow", self.escrow)):
            (self.folder / name).write_bytes(value.reveal())
            (self.folder / name).chmod(0o600)
        (tools / "pass").write_text(f"#!/bin/sh\nexec cat {self.folder}/operator\n")
        (tools / "pass").chmod(0o755)
        git = {f"GIT_{role}_{key}": "me@example.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
        return git | {
            "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder / "home"),
            "PYTHONPATH": str(ROOT),
            "TOOLKIT_IDENTITY": str(self.folder / "home" / "identity"),
            "ESCROW": str(self.folder / "escrow"),
            "BACKUP_ACCESS_KEY": self.s3.operator[0],
            "HOST_ACCESS_KEY": self.s3.host[0],
            "HOST_SECRET_KEY": self.s3.host[1].reveal().decode(),
        }

    def describe(self, text: str, **changes: str) -> None:
        """Write the backup file, with the lab's names in place of a text's own."""
        named = {
            "s3://acme-backups/site?endpoint=https://s3.example.com": f"s3://{self.bucket}/site?endpoint={self.s3.endpoint}",
            "arn:aws:iam::123456789012:user/operator": OPERATOR,
            "arn:aws:iam::123456789012:user/prod": HOST,
            "/srv/files": str(self.folder / "tree"),
            **changes,
        }
        for old, new in named.items():
            assert old in text
            text = text.replace(old, new)
        (self.root / "backups" / "prod.yml").write_text(text)

    def change(self, seed: int) -> None:
        """Let time pass on the host."""
        tree = self.folder / "tree"
        (tree / "orders" / f"{seed}.json").write_text(f'{{"order": {seed}}}\n')
        (tree / "shop.sql").write_bytes(noise(900_000, seed))
        (tree / "cache" / "page").write_text("left out")

    def run(self, block: str, code: int = 0) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=self.root,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        for secret in (*self.s3.operator, *self.s3.host, self.escrow):
            assert (secret.reveal().decode() if isinstance(secret, Secret) else secret) not in said
        assert "AGE-SECRET-KEY" not in said
        assert done.returncode == code, f"{block}\n{said}"
        return done.stdout

    @property
    def backups(self) -> Backups:
        return Backups.of(load(self.root / "hosts" / "prod.yml"), Keyring(self.environ))

    @property
    def owner(self) -> S3Store:
        store = self.backups.owner
        assert isinstance(store, S3Store)
        return store

    def back_up(self, **terms: Duration) -> Report:
        """What the host does, with its own credentials and nothing else."""
        backups = self.backups
        origin = Origin(
            host="prod",
            store=backups.thief,
            state=self.folder / "state",
            recipients=backups.recipients,
            terms=Terms(**(terms or {"length": backups.file.epoch, "lock_for": backups.file.lock})),
        )
        trees = [Tree(tree.called, Path(tree.path), tree.exclude) for tree in backups.file.paths]
        report = backup(origin, trees, options=Options(settle_within=0.0))
        self.environ["SIGNING_KEY"] = str(origin.signing_key().verify_key)
        return report


@pytest.fixture
def desk(tmp_path: Path, s3: S3) -> Desk:
    return Desk(tmp_path, s3)


def lines(block: str) -> Iterator[str]:
    return (line.strip() for line in block.splitlines() if line.strip())


@pytest.mark.some(1, "pages whose commands are run")
def test_every_command_of_the_page_does_what_it_says(desk: Desk) -> None:
    said: dict[str, str] = {}
    for kind, block in BLOCKS:
        if kind == "yaml":
            desk.describe(block)
        elif kind == "sh host":
            assert desk.back_up().outcome == "complete"
            desk.change(2)
            desk.back_up()
        elif kind == "sh copy":
            copy_bucket(desk)
            said |= {line: desk.run(line) for line in lines(block)}
        elif kind == "sh damaged":
            versions = lay_over(desk)
            said |= {line: desk.run(line, WORKED_AROUND) for line in lines(block)}
            for key, version in versions:
                desk.owner.delete(key, version=version)
        elif kind == "sh":
            said |= {line: desk.run(line) for line in lines(block)}
    tree, repository = look(desk.folder / "tree"), desk.root
    whole = {name: seen for name, seen in tree.items() if not name.startswith(b"cache/")}
    for name in ("restored", "recovered", "saved", "from-escrow"):
        assert look(repository / name / "files") == whole
    assert sorted(path.name for path in (repository / "orders").iterdir()) == ["1.json"]
    assert (repository / "1.json").read_text() == '{"order": 1}\n'
    report = json.loads((repository / "report.json").read_text())
    assert report["sound"]
    assert len(report["findings"]["healed"]) >= 4
    metrics = (repository / "verify.prom").read_text()
    assert 'toolkit_verify_sound{host="prod",keyed="true"} 1\n' in metrics
    assert 'toolkit_verify_locked_until_timestamp_seconds{host="prod",epoch=' in metrics
    check_what_was_said(said)
    sealed = (repository / "prod-1.tar.zst.age").read_bytes()
    assert age.sealed_for(sealed) == len(recipients.read(repository))


def check_what_was_said(said: dict[str, str]) -> None:
    by_verb = {line.split()[1]: text for line, text in said.items() if line.startswith("invoke backup.")}
    assert "HOLE" not in by_verb["backup.audit"]
    assert "everything held" in by_verb["backup.audit"]
    assert re.search(r"^\S+-00000001 .* complete ", by_verb["backup.snapshots"], re.MULTILINE)
    assert "files/orders/1.json" in by_verb["backup.ls"]
    assert "files/orders/2.json" not in by_verb["backup.ls"]
    assert len(by_verb["backup.find"].splitlines()) == 2
    assert "added     files/orders/2.json\n" in by_verb["backup.diff"]
    assert "changed   files/shop.sql\n" in by_verb["backup.diff"]
    assert "snapshot 2 is now pinned" in said["invoke backup.verify --host prod --keyed --metrics verify.prom"]
    assert "0 epochs are gone" in by_verb["backup.expire"]


def copy_bucket(desk: Desk) -> None:
    for info in desk.owner.list():
        path = desk.root / "copy" / info.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(desk.owner.get(info.key))


def lay_over(desk: Desk) -> list[tuple[str, str | None]]:
    """Lay newer versions over every object of the host, as whoever has its credentials can."""
    keys = [info.key for info in desk.owner.list("prod/epochs/")]
    for key in keys:
        desk.backups.thief.overwrite(key, b"laid over")
    return [(key, next(iter(desk.owner.versions(key))).version) for key in keys]


LEAST = """
repository:
  url: s3://acme-backups/site?endpoint=https://s3.example.com
  operator:
    access_key: env:BACKUP_ACCESS_KEY
    secret_key: "command:pass show backup/operator"
    name: arn:aws:iam::123456789012:user/operator
  host:
    access_key: env:HOST_ACCESS_KEY
    secret_key: env:HOST_SECRET_KEY
    name: arn:aws:iam::123456789012:user/prod
keep: {last: 1, daily: 0, weekly: 0, monthly: 0}
paths: [{path: /srv/files, name: files}]
"""


def test_the_audit_fails_where_the_policy_is_missing_or_only_allows(desk: Desk) -> None:
    desk.describe(LEAST)
    said = json.loads(desk.run("invoke backup.init --host prod --create --json", code=1))
    assert [check["name"] for check in said["checks"] if not check["good"]] == [
        "clears unfinished uploads",
        "has a policy",
    ]
    # Without any policy the host can do nothing at all, which proves nothing.
    desk.run("invoke backup.audit --host prod", code=23)
    whole = [f"arn:aws:s3:::{desk.bucket}", f"arn:aws:s3:::{desk.bucket}/*"]
    rules = [
        {"Effect": "Allow", "Principal": {"AWS": [who]}, "Action": ["s3:*"], "Resource": whole}
        for who in (OPERATOR, HOST)
    ]
    desk.owner.bucket.set_policy(json.dumps({"Version": "2012-10-17", "Statement": rules}))
    found = json.loads(desk.run("invoke backup.audit --host prod --json", code=1))
    assert found["holes"] >= 10
    assert "read an object" in [finding["attempt"] for finding in found["findings"] if not finding["held"]]
    # Somebody else's policy is not replaced: init says so.
    assert "not the one below" in desk.run("invoke backup.init --host prod --fix")
    assert json.loads(desk.owner.bucket.policy())["Statement"] == rules


def test_what_expires_is_gone_when_its_lock_has_ended_and_is_missed_by_nobody(desk: Desk) -> None:
    desk.describe(LEAST)
    desk.run("invoke backup.init --host prod --create --fix")
    for seed in (2, 3, 4):
        desk.back_up(length=Duration(0), lock_for=Duration(20))
        desk.change(seed)
    unlocked = time.time() + 20
    desk.run('invoke backup.trust --host prod --key "$SIGNING_KEY"')
    desk.run("invoke backup.verify --host prod --keyed")
    locked = json.loads(desk.run("invoke backup.expire --host prod --json"))
    assert [epoch["goes"] for epoch in locked["epochs"]] == [False] * 3
    assert all("locked by the store" in " ".join(epoch["reasons"]) for epoch in locked["epochs"])
    time.sleep(max(0.0, unlocked - time.time()) + 1)
    planned = json.loads(desk.run("invoke backup.expire --host prod --plan --json", code=2))
    assert [epoch["goes"] for epoch in planned["epochs"]] == [True, True, False]
    assert planned["done"] is None
    done = json.loads(desk.run("invoke backup.expire --host prod --json"))["done"]
    assert done["objects"] >= 6
    assert done["held"] == {}
    listed = json.loads(desk.run("invoke backup.snapshots --host prod --json"))
    assert [row["sequence"] for row in listed] == [3]
    desk.run("invoke backup.verify --host prod --keyed --all")
    desk.run("invoke backup.restore --host prod --to back")
    assert (desk.root / "back" / "files" / "orders" / "3.json").exists()
    assert json.loads((desk.root / "backups" / "prod.head").read_text())["expired"] == [[1, 2]]


def test_every_block_says_where_it_runs_and_every_verb_is_on_the_page() -> None:
    assert {kind for kind, _ in BLOCKS} == KINDS
    collection: Collection = namespace().collections["backup"]
    assert {f"backup.{name}" for name in collection.tasks} == set(re.findall(r"invoke (backup\.[a-z]+)", PAGE))
