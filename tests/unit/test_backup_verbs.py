"""Verbs of backups on a directory: what they answer, with which exit code, and what they say when something fails."""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.repository_setup import ESCROW, OPERATOR, RECIPIENTS, Host, noise
from tests.unit.test_verbs import call
from toolkit.config.load import load
from toolkit.crypto import age
from toolkit.crypto.signing import SigningKey
from toolkit.host.fake import FakeHost
from toolkit.repository import Stream, Terms, Tree, backup
from toolkit.repository.expire import Epoch
from toolkit.repository.verify import Findings
from toolkit.sources.protocol import iso
from toolkit.sources.streams import text
from toolkit.store.directory import DirectoryStore
from toolkit.vault.identity import Keyring
from toolkit.words.clock import FakeClock
from toolkit.words.errors import ConfigError, Denied, SecretError
from toolkit.words.values import Duration
from toolkit.workflows import backups as workflow
from toolkit.workflows import backups_metrics
from toolkit.workflows.backups import Backups
from toolkit.workflows.backups_verify import Verification

ROOT = Path(__file__).parents[2]


OTHER = age.recipient_of(age.new_identity())


class Site:
    """An installation with one host, its store and its tree."""

    def __init__(self, folder: Path) -> None:
        self.root, self.tree, self.store = folder / "site", folder / "tree", DirectoryStore(folder / "store")
        for path in (self.root / "hosts", self.root / "backups", self.tree):
            path.mkdir(parents=True)
        (self.root / "hosts" / "prod.yml").write_text("connection: local\n")
        self.host = Host(folder / "state", self.store)
        self.describe()
        self.change(1)

    def describe(self, more: str = "keep: {last: 1, daily: 0, weekly: 0, monthly: 0}\n") -> None:
        told = f"repository: {{url: 'file://{self.root.parent}/store'}}\nrecipients: {json.dumps(RECIPIENTS)}\n{more}"
        (self.root / "backups" / "prod.yml").write_text(told)

    def change(self, seed: int) -> None:
        (self.tree / "a").write_bytes(noise(200_000, seed))
        (self.tree / f"b{seed}").write_text("new")

    def back_up(self, **options: Any) -> Any:
        return self.host.backup(Tree("data", self.tree), **options)

    @property
    def backups(self) -> Backups:
        return Backups.of(load(self.root / "hosts" / "prod.yml"), Keyring(os.environ))

    @property
    def pin(self) -> dict[str, Any]:
        return dict(json.loads((self.root / "backups" / "prod.head").read_text()))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(tmp_path)
    (tmp_path / "identity").write_bytes(OPERATOR.reveal())
    (tmp_path / "identity").chmod(0o600)
    monkeypatch.setenv("TOOLKIT_IDENTITY", str(tmp_path / "identity"))
    monkeypatch.chdir(site.root)
    return site


@pytest.fixture
def kept(site: Site) -> Site:
    """Two snapshots, and their host trusted."""
    site.back_up()
    site.change(2)
    site.back_up()
    key = str(site.host.origin.signing_key().verify_key)
    workflow.trust(site.backups, workflow.VerifyKey.parse(key))
    return site


class Said:
    """Runs verbs and hears what they say."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, verb: str, *words: str, code: int = 0) -> str:
        self._capsys.readouterr()
        ended = call(f"backup.{verb}", *words, "--host", "prod")
        self.out, self.err = self._capsys.readouterr()
        assert ended == code, self.out + self.err
        return self.out if not code or self.out else self.err

    def json(self, verb: str, *words: str, code: int = 0) -> Any:
        return json.loads(self(verb, *words, "--json", code=code))


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Said:
    return Said(capsys)


def test_snapshots_are_listed_with_what_they_hold(kept: Site, say: Said) -> None:
    first, second = say.json("snapshots")
    assert (first["sequence"], first["outcome"], first["entries"], first["sources"]) == (1, "complete", 3, ["data"])
    assert second["bytes"] == 200_006
    assert "00000002  complete  4      195.3 KiB  data" in say("snapshots")


def test_an_incomplete_snapshot_is_told_and_restores_with_exit_code_3(kept: Site, say: Said, tmp_path: Path) -> None:
    kept.host.backup(Tree("data", kept.tree), Tree("gone", tmp_path / "gone"))
    assert "00000003  incomplete, 1 problems" in say("snapshots")
    out = say("restore", "--to", str(tmp_path / "out"), code=3)
    assert "gone: No such file or directory" in out
    assert "as INCOMPLETE as the backup was" in out
    done = say.json("restore", "--to", str(tmp_path / "again"), code=3)
    assert (done["whole"], done["lost"], done["problems"]) == (False, {}, [["gone", "No such file or directory"]])


def test_a_snapshot_that_cannot_be_believed_is_listed_with_the_complaint(kept: Site, say: Said) -> None:
    key = kept.host.repository().snapshots()[0].key("prod")
    kept.store.overwrite(key, b"nonsense")
    first, second = say.json("snapshots", code=3)
    assert "cannot be opened" in first["complaint"]
    assert second["complaint"] == ""


@pytest.mark.parametrize("which", ["1", "20", "yesterday"])
def test_a_snapshot_is_named_by_number_or_name(kept: Site, say: Said, which: str) -> None:
    if which == "1":
        assert [entry["path"] for entry in say.json("ls", "--snapshot", which)] == ["data", "data/a", "data/b1"]
    else:
        assert f"prod has no snapshot '{which}'" in say("ls", "--snapshot", which, code=23)


def test_a_path_that_is_not_there_is_an_error(kept: Site, say: Said) -> None:
    assert [entry["path"] for entry in say.json("ls", "--path", "data/b2")] == ["data/b2"]
    assert "has no 'nowhere'" in say("ls", "--path", "nowhere", code=23)
    assert "has no 'nowhere'" in say("dump", "nowhere", code=23)
    assert "'data' is a directory, not a file" in say("dump", "data", code=23)


def test_find_looks_into_every_snapshot_the_newest_first(kept: Site, say: Said) -> None:
    assert [found["snapshot"][-1] for found in say.json("find", "b1")] == ["2", "1"]
    assert [found["path"] for found in say.json("find", "b*", "--snapshot", "latest")] == ["data/b1", "data/b2"]
    assert say("find", "nothing") == ""
    assert say.json("find", "nothing") == []


def test_diff_compares_with_the_one_before(kept: Site, say: Said) -> None:
    told = {found["path"]: found["how"] for found in say.json("diff")}
    assert told == {"data": "touched", "data/a": "changed", "data/b2": "added"}
    assert say("diff", "--before", "2", "--after", "1").endswith("removed   data/b2\n1 changed, 1 removed, 1 touched\n")
    assert say("diff", "--before", "latest") == "no difference\n"
    assert "is the oldest snapshot" in say("diff", "--after", "1", code=23)


def test_names_from_a_host_cannot_steer_the_terminal_and_survive_as_json(kept: Site, say: Said) -> None:
    hostile = os.fsdecode(b"data/\x1b]0;owned\x07\xff")
    (kept.tree / hostile.removeprefix("data/")).write_text("x")
    (kept.tree / "way").symlink_to("\x1b[2J")
    kept.back_up()
    shown = r"data/\x1b]0;owned\x07\udcff"
    for verb in (("ls",), ("find", "*owned*"), ("diff",)):
        out = say(*verb)
        assert shown in out
        assert "\x1b" not in out
        assert hostile in [found["path"] for found in say.json(*verb)]
    assert r"data/way -> \x1b[2J" in say("ls")


def test_a_file_goes_to_standard_output_byte_for_byte(kept: Site) -> None:
    (kept.tree / "large").write_bytes(noise(5_000_000, 3))
    kept.back_up()
    program = [sys.executable, "-c", "from toolkit.verbs.program import main; main()", "backup.dump", "data/large"]
    words, environ = [*program, "--host", "prod"], {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, env=environ, check=True)
    assert done.stdout == noise(5_000_000, 3)
    # Whoever has seen enough is no error to complain about.
    line = f"set -o pipefail; {shlex.join(words)} | head -c 10 > /dev/null"
    cut = subprocess.run(["bash", "-c", line], capture_output=True, env=environ, check=False)
    assert (cut.returncode, cut.stderr) == (141, b"")


def test_one_path_is_restored(kept: Site, say: Said, tmp_path: Path) -> None:
    done = say.json("restore", "--to", str(tmp_path / "out"), "--path", "data/b1", "--snapshot", "1")
    assert (done["whole"], done["target"], done["entries"]) == (True, str(tmp_path / "out"), 1)
    assert (tmp_path / "out" / "b1").read_text() == "new"


def test_a_restore_says_what_it_left_out_on_purpose(kept: Site, say: Said, tmp_path: Path) -> None:
    (kept.tree / "su").touch(mode=0o755)
    (kept.tree / "su").chmod(0o4755)
    kept.back_up()
    out = say("restore", "--to", str(tmp_path / "out"))
    assert "left out on purpose; --privileged brings it back:\n  data/su: setuid or setgid\n" in out
    say("restore", "--to", str(tmp_path / "all"), "--privileged")
    assert (tmp_path / "all" / "data" / "su").stat().st_mode & 0o7777 == 0o4755


def test_a_restore_wants_an_empty_directory(kept: Site, say: Said) -> None:
    assert "no directory named" in say("restore", code=10)
    assert "is not empty" in say("restore", "--to", "hosts", code=23)


@pytest.fixture
def damaged(kept: Site) -> tuple[Site, str, set[str]]:
    """A pack of the newest snapshot is spoiled: its hash, and the files that need it."""
    for number in range(12):
        (kept.tree / f"f{number}").write_bytes(noise(100_000, 100 + number))
    kept.back_up()
    snapshot = kept.host.repository().newest()
    listing = {ref.pack for ref in snapshot.manifest.listing}
    files: dict[int, set[str]] = {}
    for part in snapshot.parts():
        for ref in part.refs:
            files.setdefault(ref.pack, set()).add(part.entry.path)
    # Chunks are spread by chance; one of several packs has files and not the listing.
    number = next(number for number in files if number not in listing and number >= min(listing) - 2)
    digest = snapshot.packs.info(number).digest
    key = next(info.key for info in kept.store.list() if digest in info.key)
    body = bytearray(kept.store.get(key))
    body[-1] ^= 1
    kept.store.overwrite(key, bytes(body))
    return kept, digest, files[number]


Damaged = tuple[Site, str, set[str]]


def test_damage_is_told_with_its_files_and_exit_code_23_and_moves_no_pin(damaged: Damaged, say: Said) -> None:
    site, digest, files = damaged
    out = say("verify", "--keyed", "--all", code=23)
    assert f"pack  {digest}" in out
    assert all(f"  {path}\n" in out for path in files)
    assert "prod: DAMAGED" in out
    found = say.json("verify", "--keyed", "--all", code=23)
    assert (found["sound"], found["pinned"], site.pin["sequence"]) == (False, None, 0)
    assert set(found["findings"]["touched"][-1]["files"]) == files
    (key,) = say.json("verify", "--all", code=23)["findings"]["damaged"]
    assert digest in key


def test_a_best_effort_says_what_is_lost_with_exit_code_3(damaged: Damaged, say: Said, tmp_path: Path) -> None:
    _, _, files = damaged
    assert "cannot restore data/" in say("restore", "--to", str(tmp_path / "no"), code=23)
    lost = say.json("restore", "--to", str(tmp_path / "out"), "--best-effort", code=3)
    assert (lost["whole"], set(lost["lost"])) == (False, files)
    told = say("restore", "--to", str(tmp_path / "more"), "--best-effort", code=3)
    assert "lost to damage:\n  data/" in told
    assert f"INCOMPLETE, {len(files)} files are lost\n" in told


def test_a_sound_verification_with_keys_pins_the_newest_snapshot(kept: Site, say: Said) -> None:
    assert say.json("verify")["pinned"] is None
    assert kept.pin["sequence"] == 0
    assert "snapshot 2 is now pinned in backups/prod.head: commit it" in say("verify", "--keyed")
    assert kept.pin["sequence"] == 2
    assert "pinned" not in say("verify", "--keyed")


def test_a_share_of_the_packs_is_said(kept: Site, say: Said) -> None:
    assert say.json("verify")["days"] == 30
    assert say.json("verify", "--keyed")["days"] == 90
    assert say.json("verify", "--keyed", "--all")["findings"]["packs"] >= 2


def test_what_a_verification_found_is_written_for_whoever_scrapes(damaged: Damaged, say: Said, tmp_path: Path) -> None:
    file = tmp_path / "verify.prom"
    say("verify", "--keyed", "--all", "--metrics", str(file), code=23)
    told = dict(line.rsplit(" ", 1) for line in file.read_text().splitlines() if not line.startswith("#"))
    labels = '{host="prod",keyed="true"}'
    values = {name: float(told[f"toolkit_verify_{name}{labels}"]) for name in ("sound", "damaged", "round_days")}
    assert values == {"sound": 0, "damaged": 1, "round_days": 1}
    assert float(told[f"toolkit_verify_touched_snapshots{labels}"]) >= 1
    assert abs(float(told[f"toolkit_verify_last_timestamp_seconds{labels}"]) - time.time()) < 600
    # A directory locks nothing.
    assert not any("locked_until" in name for name in told)
    # What was found is said whatever becomes of the file.
    told = say("verify", "--keyed", "--all", "--metrics", str(tmp_path / "no" / "x"), code=10)
    assert "prod: DAMAGED" in told
    assert "cannot write" in say.err


def test_an_epoch_tells_until_when_it_is_locked() -> None:
    epoch = Epoch("20260101-0123abcd", (), {}, datetime(2026, 3, 1, tzinfo=UTC))
    text = backups_metrics.text(Verification("prod", False, 30, 4, Findings(snapshots=2)), [epoch], 1e9)
    line = 'toolkit_verify_locked_until_timestamp_seconds{host="prod",epoch="20260101-0123abcd"} 1772323200'
    assert line in text.splitlines()
    assert 'toolkit_verify_sound{host="prod",keyed="false"} 1' in text.splitlines()


def test_recipients_that_were_added_are_pinned_once_a_snapshot_is_sealed_for_them(kept: Site, say: Said) -> None:
    three = (*RECIPIENTS, age.recipient_of(age.new_identity()))
    path = kept.root / "backups" / "prod.yml"
    path.write_text(path.read_text().replace(json.dumps(RECIPIENTS), json.dumps(three)))
    say("verify", "--keyed")
    assert kept.pin["recipients"] == list(RECIPIENTS)
    backup(replace(kept.host.origin, recipients=three), [Tree("data", kept.tree)])
    say("verify", "--keyed")
    assert kept.pin["recipients"] == list(three)
    # One who was left out again is missed.
    path.write_text(path.read_text().replace(json.dumps(three), json.dumps(RECIPIENTS)))
    backup(replace(kept.host.origin, recipients=(*three, RECIPIENTS[0], OTHER)), [Tree("data", kept.tree)])
    assert "is sealed for 5 recipients instead of 2 or 3" in say("verify", "--keyed", code=23)


def test_nothing_found_is_not_everything_sound(site: Site, say: Said) -> None:
    assert "prod has no snapshot in file://" in say("verify", code=23)


def test_a_bucket_from_last_week_is_refused_by_every_reader(kept: Site, say: Said, tmp_path: Path) -> None:
    say("verify", "--keyed")
    kept.store.delete(kept.host.repository().snapshots()[-1].key("prod"))
    for words in (("snapshots",), ("ls",), ("diff",), ("restore", "--to", str(tmp_path / "x")), ("verify", "--keyed")):
        assert "the store lacks snapshot 2, which was seen before" in say(*words, code=23)
    assert "snapshot 2 is missing, which was seen before" in say("verify", code=23)


def test_readers_want_a_pinned_host(site: Site, say: Said) -> None:
    site.back_up()
    say("snapshots", code=23)
    assert say.err.splitlines() == [
        "error: nothing is pinned of prod yet",
        "  hint: trust the host's signing key once: invoke backup.trust --host prod",
    ]


class TestTrust:
    def test_a_key_that_is_given_is_pinned_and_stays(self, site: Site, say: Said) -> None:
        key = str(site.host.origin.signing_key().verify_key)
        assert "pinned in backups/prod.head: commit it" in say("trust", "--key", key)
        assert "as before" in say("trust", "--key", key)
        assert (site.pin["signing_key"], site.pin["recipients"]) == (key, list(RECIPIENTS))

    def test_another_key_is_refused_unless_it_is_to_replace(self, kept: Site, say: Said, tmp_path: Path) -> None:
        anew = Host(tmp_path / "anew", kept.store)
        key = str(anew.origin.signing_key().verify_key)
        assert "is pinned with another signing key" in say("trust", "--key", key, code=23)
        say("trust", "--key", key, "--replace")
        anew.backup(Tree("data", kept.tree))
        assert [row["complaint"] for row in say.json("snapshots")] == ["", "", ""]
        say("verify", "--keyed", "--all")
        assert kept.pin["former"][0][1] == 2

    @pytest.mark.parametrize("key", ["00", "no key", "g" * 64])
    def test_what_is_no_key_is_refused(self, site: Site, say: Said, key: str) -> None:
        assert "is no signing key" in say("trust", "--key", key, code=11)

    def test_the_host_is_asked_where_no_key_is_given(self, site: Site, tmp_path: Path) -> None:
        machine = FakeHost()
        machine.answer("cat /var/lib/toolkit/backup/signing.pub", f"{'ab' * 32}\n")
        assert str(workflow.ask_for_key(machine)) == "ab" * 32

    def test_a_host_without_a_key_says_when_it_draws_one(self, site: Site, say: Said) -> None:
        say("trust", code=23)
        assert "has drawn no signing key yet" in say.err
        assert "at its first backup" in say.err


class TestCredentials:
    @pytest.fixture
    def bucket(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
        monkeypatch.setenv("KEY", "AKIACANARY")
        who = "{access_key: 'env:KEY', secret_key: '%s'}"
        operator, host = who % "command:printf hunter2", who.replace("env:KEY", "env:OTHER") % "secret:nowhere"
        text = f"repository: {{url: 's3://acme', operator: {operator}, host: {host}}}\n"
        (site.root / "backups" / "prod.yml").write_text(text)
        return site

    def test_they_come_from_providers_when_they_are_needed(self, bucket: Site) -> None:
        assert bucket.backups.owner

    @pytest.mark.parametrize("verb", ["audit", "verify"])
    def test_a_provider_that_fails_is_named_with_its_place(
        self, bucket: Site, say: Said, verb: str, monkeypatch
    ) -> None:
        monkeypatch.delenv("KEY")
        say("verify", code=11)
        assert "error: backups/prod.yml: repository.operator.access_key: env:KEY is not set" in say.err
        monkeypatch.setenv("OTHER", "x")
        with pytest.raises(SecretError, match=r"prod\.yml: repository\.host\.secret_key: no secret nowhere"):
            _ = bucket.backups.thief

    def test_an_access_key_that_is_no_text_is_refused(self, bucket: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEY", "\udcff")
        with pytest.raises(SecretError, match="access_key is no text"):
            _ = bucket.backups.owner

    def test_a_server_that_is_not_there_does_not_repeat_them(self, bucket: Site, say: Said) -> None:
        path = bucket.root / "backups" / "prod.yml"
        path.write_text(path.read_text().replace("s3://acme", "s3://acme?endpoint=http://127.0.0.1:1"))
        say("verify", code=20)
        assert "hunter2" not in say.err + say.out
        assert "AKIACANARY" not in say.err + say.out


def test_recipients_default_to_those_of_the_vault_and_are_two(site: Site) -> None:
    (site.root / "backups" / "prod.yml").write_text(f"repository: {{url: 'file://{site.root}/x'}}\n")
    (site.root / "secrets").mkdir()
    (site.root / "secrets" / "recipients.txt").write_text("\n".join(RECIPIENTS) + "\n")
    assert site.backups.recipients == RECIPIENTS
    (site.root / "secrets" / "recipients.txt").write_text(RECIPIENTS[0] + "\n")
    with pytest.raises(ConfigError, match="are for one recipient only"):
        _ = site.backups.recipients


def test_the_escrow_opens_everything(kept: Site, say: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "escrow").write_bytes(ESCROW.reveal())
    (tmp_path / "escrow").chmod(0o600)
    monkeypatch.setenv("TOOLKIT_IDENTITY", str(tmp_path / "escrow"))
    say("restore", "--to", str(tmp_path / "out"))
    assert (tmp_path / "out" / "data" / "a").read_bytes() == noise(200_000, 2)


class TestExpire:
    @pytest.fixture
    def epochs(self, site: Site) -> Site:
        """Three epochs with a snapshot each."""
        site.host.terms = Terms(length=Duration(0))
        for seed in (1, 2, 3):
            site.change(seed)
            site.back_up()
        workflow.trust(site.backups, site.host.origin.signing_key().verify_key)
        return site

    def test_a_plan_deletes_nothing(self, epochs: Site, say: Said) -> None:
        before = [info.key for info in epochs.store.list()]
        out = say("expire", "--plan", code=2)
        assert "2 of 3 epochs would go" in out
        assert out.count("expire  the policy keeps none of its 1 snapshots") == 2
        assert [info.key for info in epochs.store.list()] == before
        assert epochs.pin["expired"] == []

    def test_what_goes_is_noted_so_that_nobody_misses_it(self, epochs: Site, say: Said) -> None:
        assert "2 epochs are gone" in say("expire")
        assert epochs.pin["expired"] == [[1, 2]]
        assert "0 of 1 epochs would go" in say("expire", "--plan")
        say("verify", "--keyed", "--all")

    def test_an_epoch_in_the_middle_may_go(self, epochs: Site, say: Said) -> None:
        middle = epochs.host.repository().snapshots()[1].epoch
        kept = {info.key: info for info in epochs.store.list() if middle not in info.key}
        for key in [info.key for info in epochs.store.list() if middle in info.key]:
            epochs.store.delete(key)
        assert "between snapshots 1 and 3 something is missing" in say("verify", code=23)
        epochs.backups.pin().without([2]).save(epochs.backups.pin_path)
        say("verify")
        say("verify", "--keyed")
        assert {info.key for info in epochs.store.list()} == set(kept)

    def test_an_epoch_that_the_store_holds_back_is_exit_code_3(
        self, epochs: Site, say: Said, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        oldest = epochs.host.repository().snapshots()[0].epoch
        real = DirectoryStore.delete

        def delete(self: DirectoryStore, key: str, **named: Any) -> None:
            if oldest in key:
                raise Denied("locked after all")
            real(self, key, **named)

        monkeypatch.setattr(DirectoryStore, "delete", delete)
        out = say("expire", code=3)
        assert "1 epochs are gone" in out
        assert f"! {oldest} stays: locked after all" in out

    def test_an_unknown_epoch_cannot_be_dropped(self, epochs: Site, say: Said) -> None:
        say("expire", "--drop", "20200101-00000000", code=10)
        assert "has no epoch 20200101-00000000" in say.err

    def test_epochs_that_nobody_can_believe_stay_until_they_are_named(self, epochs: Site, say: Said) -> None:
        forged = epochs.host.repository().snapshots()[-1]
        epochs.store.overwrite(forged.key("prod"), b"nonsense")
        fates = {fate["epoch"]: fate for fate in say.json("expire", "--plan", code=2)["epochs"]}
        assert "look at them, then drop it by name" in fates[forged.epoch]["reasons"][0]
        fates = say.json("expire", "--plan", "--drop", forged.epoch, code=2)["epochs"]
        assert [fate["goes"] for fate in fates if fate["epoch"] == forged.epoch] == [True]

    def test_the_last_snapshot_is_never_deleted_unless_that_is_meant(self, epochs: Site, say: Said) -> None:
        for name in epochs.host.repository().snapshots():
            epochs.store.overwrite(name.key("prod"), b"nonsense")
        names = [fate["epoch"] for fate in say.json("expire", "--plan")["epochs"]]
        drop = [word for name in names for word in ("--drop", name)]
        say("expire", *drop, code=23)
        assert "refusing to delete the last epoch" in say.err
        assert "--allow-empty" in say.err
        assert epochs.pin["expired"] == []
        assert "3 epochs are gone" in say("expire", "--allow-empty", *drop)


class TestExpireLog:
    """Shipped logs lie beside the snapshots and go along."""

    @pytest.fixture
    def shipped(self, kept: Site) -> Site:
        """Three days of log, each with a base, by the host that is trusted."""
        kept.describe("keep: {daily: 2}\n")
        clock = FakeClock(epoch=time.time() - 3 * 86400)
        state = kept.host.directory.with_name("wal-state")
        state.mkdir()
        os.link(kept.host.directory / "signing.key", state / "signing.key")
        log = Host(state, kept.store, "prod-wal", Terms(length=Duration(86400)))
        facts = {"start": 1, "end": 1, "timeline": 1, "segment": 1 << 24, "system": "x"}
        for _ in range(3):
            about = {**facts, "moment": iso(clock.wall())}
            base = Stream("wal/db/base.tar", lambda: text("base"), "wal", lambda about=about: about)
            assert backup(log.origin, [base], clock=clock).outcome == "complete"
            clock.sleep(86400)
        return kept

    def epochs(self, shipped: Site) -> int:
        return len({info.key.split("/")[2] for info in shipped.store.list("prod-wal/epochs/")})

    def test_a_plan_shows_what_of_the_log_would_go_and_deletes_nothing(self, shipped: Site, say: Said) -> None:
        out = say("expire", "--plan", code=2)
        assert "shipped logs, prod-wal" in out
        assert "the base that the last 2 days begin with" in out
        assert "1 of 3 epochs would go" in out
        assert self.epochs(shipped) == 3
        found = say.json("expire", "--plan", code=2)
        assert [fate["goes"] for fate in found["epochs"]] == [False]
        assert [fate["goes"] for fate in found["log"]["epochs"]] == [True, False, False]

    def test_the_log_before_the_oldest_kept_base_goes(self, shipped: Site, say: Said) -> None:
        assert say.json("expire")["log"]["done"]["objects"] > 0
        assert self.epochs(shipped) == 2
        assert "0 of 2 epochs would go" in say("expire", "--plan")
        say("verify", "--keyed", "--all")

    def test_a_host_whose_name_ends_like_that_keeps_what_is_its_own(self, shipped: Site, say: Said) -> None:
        (shipped.root / "backups/prod-wal.yml").write_text((shipped.root / "backups/prod.yml").read_text())
        assert say.json("expire")["log"] is None
        assert self.epochs(shipped) == 3

    def test_a_new_key_of_the_host_leaves_the_log_of_the_former_one_readable(self, shipped: Site, say: Said) -> None:
        last = max(name.sequence for name in shipped.backups.log_repository(print).snapshots())
        workflow.trust(shipped.backups, SigningKey.generate().verify_key, replace=True)
        assert shipped.pin["former_log"][0][1] == last
        assert [fate["goes"] for fate in say.json("expire", "--plan", code=2)["log"]["epochs"]] == [True, False, False]


class TestPlan:
    def test_a_guess_is_played_over_the_months(self, site: Site, say: Said) -> None:
        found = say.json("plan", "--first", "10GB", "--daily", "100MB", "--price", "0.01", "--currency", "EUR")
        assert len(found["months"]) == 24
        assert found["price"] == {"month": 0.01, "currency": "EUR"}
        assert not found["measured"]
        out = say("plan", "--first", "10GB", "--daily", "100MB", "--price", "0.01", "--months", "3")
        assert "cost USD" in out
        assert "█" in out

    def test_what_is_stored_tells_when_nobody_guesses(self, kept: Site, say: Said) -> None:
        found = say.json("plan")
        assert found["measured"]
        stored = sum(info.size for info in kept.store.list("prod/epochs/"))
        assert 200_000 < found["workload"]["first"] < stored
        assert any("changes count as nothing" in text for text in found["warnings"])
        assert any("costs count as nothing" in text for text in found["warnings"])
        assert say.json("plan", "--daily", "1GB")["workload"]["daily"] == 10**9

    def test_nothing_stored_and_nothing_guessed_is_an_error(self, site: Site, say: Said) -> None:
        say("plan", code=10)
        assert "prod has no backup yet to go by" in say.err

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (("--months", "0"), "0 months cannot be planned"),
            (("--months", "10000"), "10000 months cannot be planned"),
            (("--price", "free"), "'free' is not a price"),
            (("--price", "-1"), "'-1' is not a price"),
            (("--first", "much"), "'much' is not a size"),
            (("--every", "often"), "'often' is not a duration"),
            (("--every", "90d"), "an epoch is shorter than the time between backups"),
            (("--chart", "nowhere/x.svg"), "nowhere/x.svg cannot be written"),
        ],
    )
    def test_what_cannot_be_planned_is_told(self, kept: Site, say: Said, words: tuple[str, ...], told: str) -> None:
        say("plan", *words, code=10)
        assert told in say.err

    def test_the_chart_is_drawn_into_a_file(self, kept: Site, say: Said, tmp_path: Path) -> None:
        assert "drawn into" in say("plan", "--chart", str(tmp_path / "plan.svg"))
        assert (tmp_path / "plan.svg").read_text().count("stored ") >= 24


def test_a_directory_is_told_for_what_it_is(site: Site, say: Said) -> None:
    assert "whoever can write here can delete here" in say("init")
    ready = say.json("init")
    assert (ready["good"], ready["policy"], ready["written"]) == (False, None, [])
    assert say.json("audit", code=1)["holes"] == 5


def test_a_host_without_a_backup_file_says_what_to_write(site: Site, say: Said) -> None:
    (site.root / "backups" / "prod.yml").unlink()
    say("snapshots", code=10)
    assert "there is no backups/prod.yml" in say.err
    assert "backups/example.yml" in say.err


def test_without_an_identity_the_verbs_that_need_none_still_work(
    kept: Site, say: Said, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TOOLKIT_IDENTITY", str(tmp_path / "nowhere"))
    say("verify", "--all")
    say("plan")
    say("init")
    say("ls", code=11)
    assert "no identity at" in say.err


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Errors are told the same whatever options the tests themselves run with."""
    monkeypatch.setattr(sys, "argv", ["toolkit"])
    yield
