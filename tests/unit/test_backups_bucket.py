"""One bucket for several hosts: whose users its policy names, and for how long it lets them lock."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_init import BucketInMemory
from toolkit.config.load import load
from toolkit.vault.identity import Keyring
from toolkit.workflows import backups_bucket as workflow
from toolkit.workflows.backups import Backups

TEXT = """
repository:
  url: s3://acme-backups
  operator: {{access_key: env:A, secret_key: env:B, name: "arn:aws:iam:::user/operator"}}
  host: {{access_key: env:{name}, secret_key: env:D{user}}}
lock: {lock}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("hosts", "backups"):
        (tmp_path / folder).mkdir()
    return tmp_path


def describe(root: Path, name: str, *, lock: str = "30d", named: bool = True) -> None:
    user = f', name: "arn:aws:iam:::user/{name}"' if named else ""
    (root / "hosts" / f"{name}.yml").write_text("connection: local\n")
    (root / "backups" / f"{name}.yml").write_text(TEXT.format(name=name, user=user, lock=lock))


def prepared(root: Path, name: str, **options: bool) -> Any:
    backups = Backups.of(load(root / "hosts" / f"{name}.yml"), Keyring(os.environ))
    # A cached property: what is put there is what is used.
    backups.__dict__["owner"] = BucketInMemory()
    return workflow.prepare(backups, **options)


def test_all_hosts_of_a_bucket_are_in_its_policy(root: Path) -> None:
    describe(root, "web")
    describe(root, "db", lock="60d")
    describe(root, "old", named=False)
    (root / "backups" / "other.yml").write_text("repository: {url: file:///srv}\n")
    (root / "hosts" / "other.yml").write_text("connection: local\n")
    policy = prepared(root, "web").policy
    users = {who for rule in policy["Statement"] for who in rule["Principal"]["AWS"]}
    assert users == {"arn:aws:iam:::user/web", "arn:aws:iam:::user/db", "arn:aws:iam:::user/operator"}
    # The longest lock of any host: 30 days of an epoch, 60 of the lock, and one for the clock.
    assert '"s3:object-lock-remaining-retention-days": "91"' in json.dumps(policy)
    assert prepared(root, "db").policy == policy


def test_a_host_that_ships_a_log_may_write_it(root: Path) -> None:
    describe(root, "web")
    describe(root, "db")
    path = root / "backups/db.yml"
    path.write_text(path.read_text() + "sources: [{kind: postgres, service: db, wal: true}]\n")
    text = json.dumps(prepared(root, "web").policy)
    assert "/db-wal/*" in text
    assert "/web-wal/*" not in text


def test_a_host_without_a_name_gets_a_policy_for_its_user(root: Path) -> None:
    describe(root, "web")
    describe(root, "old", named=False, lock="false")
    policy = json.dumps(prepared(root, "old", fix=True).policy)
    assert "Principal" not in policy
    assert "arn:aws:s3:::backups/site/old/*" in policy
    assert "remaining-retention" not in policy
