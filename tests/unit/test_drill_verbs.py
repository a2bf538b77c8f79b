"""Drills without an Engine, as they are typed: verdicts, exit codes, evidence and belief, and what expiry keeps."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.drill_reports import PASSED
from tests.repository_setup import ESCROW, OPERATOR, RECIPIENTS, Host, noise, rich_tree
from tests.unit.test_verbs import call
from toolkit.config.load import load
from toolkit.crypto import age
from toolkit.crypto.signing import SigningKey, VerifyKey
from toolkit.drill import box, signed
from toolkit.host.fake import FakeHost
from toolkit.repository import Tree
from toolkit.repository.layout import pack_key
from toolkit.store.directory import DirectoryStore
from toolkit.vault.identity import Keyring
from toolkit.verbs import drill_shown
from toolkit.words.report import Silent
from toolkit.workflows import backups as workflow
from toolkit.workflows import drill_reports, drills
from toolkit.workflows.backups import Backups


class Site:
    """An installation with one host and two snapshots in a directory."""

    def __init__(self, folder: Path) -> None:
        self.root, self.store = folder / "site", DirectoryStore(folder / "store")
        for name in ("hosts", "backups"):
            (self.root / name).mkdir(parents=True)
        (self.root / "hosts/prod.yml").write_text("connection: local\n")
        self.describe()
        self.host = Host(folder / "state", self.store)
        self.tree = rich_tree(folder / "tree")
        for number in (1, 2):
            (self.tree / "a").write_bytes(noise(200_000, number))
            self.host.backup(Tree("data", self.tree))
        workflow.trust(self.backups, self.host.origin.signing_key().verify_key)

    def describe(self, more: str = "") -> None:
        told = f"repository: {{url: 'file://{self.root.parent}/store'}}\nrecipients: {json.dumps(RECIPIENTS)}\n{more}"
        (self.root / "backups/prod.yml").write_text(told)

    @property
    def backups(self) -> Backups:
        return Backups.of(load(self.root / "hosts/prod.yml"), Keyring(os.environ))

    @property
    def packs(self) -> list[str]:
        manifest = self.host.repository().newest().manifest
        return [pack_key("prod", manifest.epoch, info.digest) for info in manifest.packs.values()]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name, identity in (("identity", OPERATOR), ("escrow", ESCROW), ("stranger", age.new_identity())):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_bytes(identity.reveal())
    monkeypatch.setenv("TOOLKIT_IDENTITY", str(tmp_path / "identity"))
    monkeypatch.setenv("TOOLKIT_DRILL_KEY", str(tmp_path / "drill.key"))
    # A drill below a root of its own: this machine's own folders are not for tests.
    monkeypatch.setattr(drills, "_root", lambda: tmp_path / "machine")
    monkeypatch.setattr("toolkit.host.connect.connect", lambda _: FakeHost())
    made = Site(tmp_path)
    monkeypatch.chdir(made.root)
    yield made
    assert not [path for path in (tmp_path / "machine").rglob("drill-*") if path.exists()]


class Drilled:
    """Runs `drill` and hears its report."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def say(self, verb: str, *words: str, code: int = 0) -> str:
        self._capsys.readouterr()
        ended = call(verb, *words)
        out, err = self._capsys.readouterr()
        assert ended == code, out + err
        return out + err

    def __call__(self, level: int, *words: str, code: int = 0) -> Any:
        return json.loads(self.say("drill", "--host", "prod", "--level", str(level), "--json", *words, code=code))


@pytest.fixture
def drill(capsys: pytest.CaptureFixture[str]) -> Drilled:
    return Drilled(capsys)


def bad(report: Any) -> dict[str, str]:
    return {one["what"]: one["evidence"] for one in report["checks"] if one["state"] == "bad"}


def test_level_0_looks_at_every_object_and_needs_no_key(
    site: Site, drill: Drilled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLKIT_IDENTITY", str(tmp_path / "nowhere"))
    report = drill(0)
    assert (report["verdict"], report["snapshot"], report["rto"], report["opened_with"]) == ("passed", "", None, [])
    assert report["sizes"]["objects"] == len(list(site.store.list("prod/epochs/"))) - 1
    body = bytearray(site.store.get(site.packs[0]))
    body[100] ^= 1
    site.store.overwrite(site.packs[0], bytes(body))
    assert "its bytes are not what its name says" in bad(drill(0, code=1))["every object"]


def test_the_report_is_named_from_where_one_stands(site: Site, drill: Drilled) -> None:
    named = drill.say("drill", "--host", "prod", "--level", "0").rpartition("the report: ")[2].splitlines()[0]
    assert named.startswith("backups/reports/prod-")
    assert (site.root / named).is_file()
    # From elsewhere only its whole path finds it.
    assert str(drill_shown._from_here(Path("/srv/elsewhere/report.html"))) == "/srv/elsewhere/report.html"


def test_level_1_misses_a_pack_that_is_gone(site: Site, drill: Drilled) -> None:
    report = drill(1)
    assert report["verdict"] == "passed"
    assert report["snapshot"].endswith("-00000002")
    site.store.delete(site.packs[0])
    found = bad(drill(1, code=1))["signatures, chain, packs"]
    assert site.packs[0].rpartition("/")[2][:64] in found


def test_level_2_brings_every_file_back_and_compares_it(site: Site, drill: Drilled) -> None:
    report = drill(2)
    assert report["verdict"] == "passed"
    assert report["rto"] > 0
    names = [phase["name"] for phase in report["phases"]]
    assert names == [
        "open the snapshot",
        "signatures, chain and a share of the packs",
        "restore every file",
        "compare with the list",
    ]
    assert report["loss"]["told_by"] == "barrier"


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda root: (root / "data/a.txt").write_bytes(b"jello\n"), "data/a.txt: its bytes from 0 on are others"),
        (lambda root: (root / "data/sub/deeper/large").open("r+b").write(b"x"), "data/sub/deeper/large: its bytes"),
        (lambda root: (root / "data/private").chmod(0o644), "data/private: has mode 0644, not 0600"),
        (lambda root: (root / "data/empty").unlink(), "data/empty: No such file or directory"),
        (lambda root: (root / "data/empty").write_bytes(b"x"), "data/empty: has 1 bytes, not 0"),
        (lambda root: (root / "data/pointer").unlink(), "data/pointer: No such file"),
        (lambda root: _other_link(root / "data/pointer"), "data/pointer: points elsewhere"),
        (lambda root: _directory(root / "data/a.txt"), "data/a.txt: is a directory, not a file"),
    ],
    ids=["content", "large", "mode", "missing", "size", "link", "target", "kind"],
)
def test_whatever_differs_from_the_list_is_found(
    site: Site, drill: Drilled, monkeypatch: pytest.MonkeyPatch, harm: Any, told: str
) -> None:
    from toolkit.drill import files

    real = files.bring_back

    def harmed(snapshot: Any, target: Path, path: str, listener: Any) -> Any:
        done = real(snapshot, target, path, listener)
        harm(target)
        return done

    monkeypatch.setattr(files, "bring_back", harmed)
    assert told in bad(drill(2, code=1))["files as listed"]


def _other_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("elsewhere")


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def test_an_incomplete_backup_passes_incomplete(site: Site, drill: Drilled, tmp_path: Path) -> None:
    site.host.backup(Tree("data", site.tree), Tree("gone", tmp_path / "gone"))
    report = drill(2, code=3)
    assert (report["verdict"], report["outcome"]) == ("incomplete", "incomplete")
    assert drill(2, "--snapshot", "2")["verdict"] == "passed"


def test_each_identity_that_is_given_has_to_open_it(site: Site, drill: Drilled, tmp_path: Path) -> None:
    report = drill(1, "--identity", str(tmp_path / "escrow"))
    assert report["opened_with"] == list(RECIPIENTS)
    report = drill(1, "--identity", str(tmp_path / "stranger"), code=1)
    assert [what for what in bad(report) if what.startswith("opens with age1")]
    assert report["opened_with"] == [RECIPIENTS[0]]


def test_a_wrong_identity_is_a_failed_drill_that_says_so(
    site: Site, drill: Drilled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLKIT_IDENTITY", str(tmp_path / "stranger"))
    found = bad(drill(2, code=1))
    assert "cannot be opened" in found["open the snapshot"]


def test_a_snapshot_that_is_not_there_and_one_of_another_stack(site: Site, drill: Drilled) -> None:
    assert "has no snapshot '9'" in bad(drill(2, "--snapshot", "9", code=1))["open the snapshot"]
    if os.geteuid() == 0:
        # Snapshots of plain files have no stack that could be brought up.
        found = bad(drill(3, code=1))
        assert "holds no release of a stack" in "".join(found.values())


def test_targets_are_verdicts(site: Site, drill: Drilled) -> None:
    site.describe("targets: {rto: 1h, rpo: 1d}\n")
    good = {one["what"] for one in drill(2)["checks"] if one["subject"] == "targets" and one["state"] == "good"}
    assert good == {"RTO", "RPO"}


@pytest.mark.parametrize("words", [("--level", "5"), ("--level", "deep"), ("--on", "nowhere", "--level", "0")])
def test_what_cannot_be_asked_is_refused_at_once(site: Site, drill: Drilled, words: tuple[str, ...]) -> None:
    drill.say("drill", "--host", "prod", *words, code=10)
    assert not (site.root / "backups/reports").exists()


def test_reports_are_files_and_evidence_under_a_key_that_is_introduced(site: Site, drill: Drilled) -> None:
    report = drill(1)
    assert [Path(path).suffix for path in report["files"]] == [".json", ".md", ".html"]
    stored = signed.open_signed(site.store.get(report["evidence"][0]))
    assert stored.report.snapshot == report["snapshot"]
    assert str(stored.key) in (site.root / "backups/drill.keys").read_text()
    said = drill.say("drill.check", report["files"][0])
    assert "the signature holds: prod" in said
    assert "in backups/drill.keys" in said
    (site.root / "backups/drill.keys").write_text("")
    assert "NOT IN backups/drill.keys" in drill.say("drill.check", report["files"][0], code=1)
    path = Path(report["files"][0])
    path.write_bytes(path.read_bytes().replace(b'"level":1', b'"level":4'))
    assert "not what was signed" in drill.say("drill.check", str(path), code=23)


def test_a_key_that_others_may_read_signs_nothing(site: Site, drill: Drilled, tmp_path: Path) -> None:
    (tmp_path / "drill.key").write_bytes(bytes(32))
    (tmp_path / "drill.key").chmod(0o644)
    assert "others may read the key" in drill.say("drill", "--host", "prod", "--level", "1", code=11)


def test_reports_are_listed_and_drawn_again(site: Site, drill: Drilled) -> None:
    assert "no drill yet: one is due" in drill.say("drill.report", "--host", "prod", code=1)
    report = drill(2)
    page = Path(report["files"][2])
    page.unlink()
    said = drill.say("drill.report", "--host", "prod", "--render")
    assert "1 reports that can be believed; the next drill is due" in said
    assert "PASSED" in page.read_text()


def test_the_host_gets_metrics_where_the_toolkit_lives() -> None:
    host = FakeHost()
    host.answer("sh", code=1)
    assert not drill_reports.tell(host, PASSED)
    host.answer("sh")
    assert drill_reports.tell(host, PASSED)
    text = host.files["/var/lib/toolkit/metrics/drill.prom"].body.decode()
    assert "toolkit_drill_last_passed 1\n" in text
    assert "toolkit_drill_last_timestamp_seconds 1772334000\n" in text
    assert "toolkit_drill_rpo_seconds 3600\n" in text


def test_expiry_keeps_what_a_believed_drill_has_proven_and_nothing_else(site: Site, drill: Drilled) -> None:
    name = str(site.host.repository().snapshots()[0])
    proven = lambda: {str(one) for one in drill_reports.proven(site.backups, Silent())}  # noqa: E731
    drill(1, "--snapshot", "1")
    assert proven() == set()
    drill(2, "--snapshot", "1")
    assert proven() == {name}
    # The bucket has it as well, for whoever lost the files; but not under a key that nobody knows.
    shutil.rmtree(site.root / "backups/reports")
    assert proven() == {name}
    newest = str(site.host.repository().snapshots()[1])
    forged = signed.sign(replace(PASSED, snapshot=newest), SigningKey.generate())
    site.store.put_new("prod/evidence/drill-forged.json", forged)
    site.store.put_new("prod/evidence/drill-nonsense.json", b"{}")
    assert proven() == {name}
    said = drill.say("backup.expire", "--host", "prod", "--plan")
    assert f"{name}: the newest that a drill has proven" in said


def test_leftovers_are_removed_and_a_living_drill_is_left_alone(tmp_path: Path) -> None:
    docker = box.Docker()
    dead, alive = box.Box(docker, "drill-00000000dead", tmp_path), box.Box.drawn(docker, tmp_path)
    for folder in (dead.memory, dead.disk):
        folder.mkdir(parents=True)
        (folder / "secret").write_text("x")
    (dead.disk / "pid").write_text("1 12345")
    (tmp_path / box.DISK / "somebody-elses").mkdir()
    with alive.opened():
        assert box.clean_up(docker, tmp_path) == [dead.name]
        # Its own process is not in its way; another one's is.
        box.refuse_second(tmp_path)
        other = os.getppid()
        (alive.disk / "pid").write_text(f"{other} {box._started(other)}")
        with pytest.raises(box.Locked, match=alive.name):
            box.refuse_second(tmp_path)
    assert not dead.memory.exists()
    assert [path.name for path in (tmp_path / box.DISK).iterdir()] == ["somebody-elses"]
    with pytest.raises(box.HostError, match="names no drill"):
        box.remove(docker, "taskflow", tmp_path)


def test_a_stranger_that_signs_is_introduced_by_nobody(site: Site, drill: Drilled) -> None:
    drill(1)
    known = signed.believed(site.root / "backups/drill.keys")
    assert list(known) == [str(SigningKey.keep(site.root.parent / "drill.key").verify_key)]
    assert VerifyKey.parse(next(iter(known)))
