"""The control side of a recovery: whose file counts, what goes on where it was cut, and a vault that lost a secret."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.repository_setup import Host
from toolkit.config.load import load
from toolkit.config.models import Connection, HostFile
from toolkit.repository import Snapshot, Stream
from toolkit.sources.streams import text
from toolkit.words.errors import SecretError
from toolkit.words.report import Silent
from toolkit.workflows import recover
from toolkit.workflows.recover import Fallback, Log

LOST = """
connection: {address: lost.example.com, user: admin}
machine: {swap: {size: 1GiB}}
stack:
  name: shop
  directory: shop
  secrets: {gone: "command:false", there: "command:printf there"}
"""
OTHER = "connection: {address: fresh.example.com, user: admin}\nmachine: {swap: false}\n"


@pytest.fixture
def lost(tmp_path: Path) -> HostFile:
    for folder in ("hosts", "shop"):
        (tmp_path / folder).mkdir()
    (tmp_path / "shop/compose.yaml").write_text("services: {}\n")
    (tmp_path / "hosts/prod.yml").write_text(LOST)
    (tmp_path / "hosts/fresh.yml").write_text(OTHER)
    return load(tmp_path / "hosts/prod.yml")


def test_the_new_machine_is_made_as_its_own_file_says_and_is_the_lost_host_otherwise(
    lost: HostFile,
) -> None:
    other = load(lost.root / "hosts/fresh.yml")
    made = recover.described_as(lost, other, None)
    assert (made.name, made.stack, made.root) == (lost.name, lost.stack, lost.root)
    assert (made.connection, made.machine) == (other.connection, other.machine)
    address = Connection(address="fresh.example.com")
    assert recover.described_as(lost, None, address) == replace(lost, connection=address)


def snapshot(folder: Path, **manifest: Any) -> Snapshot:
    host = Host(folder)
    secret = Stream("stack/secrets/gone-abc", lambda: text("as it was"), "secrets")
    host.backup(secret, facts={"manifest": manifest})
    return host.repository().newest()


class Heard(Silent):
    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, text: str) -> None:
        self.warned.append(text)


def test_a_secret_that_the_vault_has_not_is_the_snapshots_and_that_is_said(lost: HostFile, tmp_path: Path) -> None:
    heard, log = Heard(), Log(tmp_path / "log", "fresh")
    values = Fallback(lost, snapshot(tmp_path / "state", secrets={"gone": "abc"}), log, heard)
    assert values.secret("there").reveal() == b"there"
    assert log.notes == []
    assert values.secret("gone").reveal() == b"as it was"
    assert len(log.notes) == len(heard.warned) == 1
    assert "secret gone is the snapshot's" in log.notes[0]
    assert "as it was" not in log.notes[0]


@pytest.mark.parametrize("secrets", [{}, {"gone": "other-tag"}, None, []])
def test_a_secret_that_neither_has_is_the_vaults_error(lost: HostFile, tmp_path: Path, secrets: Any) -> None:
    values = Fallback(lost, snapshot(tmp_path / "state", secrets=secrets), Log(tmp_path / "log", "x"), Silent())
    with pytest.raises(SecretError, match="gone"):
        values.secret("gone")


def test_images_are_those_that_ran(tmp_path: Path) -> None:
    made = snapshot(tmp_path / "one", digests={"postgres:17": "sha256:1"})
    assert recover._pins(made) == {"postgres:17": "sha256:1"}
    assert recover._pins(snapshot(tmp_path / "two", digests=[])) == {}


def test_an_attempt_goes_on_from_the_same_snapshot_and_adds_up_its_times(tmp_path: Path) -> None:
    path = tmp_path / "prod.recovery.json"
    log = Log.of(path, "fresh")
    log.attempts, log.snapshot = 1, "one"
    with pytest.raises(ZeroDivisionError):
        log.timed("provision", lambda: 1 / 0)
    again = Log.of(path, "fresh")
    assert (again.attempts, again.snapshot, list(again.seconds)) == (1, "one", ["provision"])
    again.seconds["provision"] = 5.0
    again.timed("provision", lambda: None)
    assert Log.of(path, "fresh").seconds["provision"] >= 5.0
    # Another machine begins anew, and so does whatever cannot be read.
    assert Log.of(path, "another").snapshot == ""
    for content in (
        "{",
        "[]",
        json.dumps({"format": "other 1", "to": "fresh"}),
        json.dumps({"format": recover.FORMAT}),
    ):
        path.write_text(content)
        assert Log.of(path, "fresh").attempts == 0
