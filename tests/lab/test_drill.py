"""Restore drills of a real stack: passed beside production that stays as it was, failed where something is wrong."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.drilled import QUERIES, Drilled, drilled
from tests.source_boxes import watching
from toolkit.config.load import load
from toolkit.crypto.signing import SigningKey
from toolkit.drill import signed
from toolkit.lab import Lab
from toolkit.lab.services import S3
from toolkit.repository import manifest
from toolkit.repository.layout import pack_key
from toolkit.vault.identity import Keyring
from toolkit.words.report import Silent
from toolkit.words.values import Secret
from toolkit.workflows import drills, drills_lab
from toolkit.workflows.backups import Backups

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
# Each runs a drill or two.
FAULT = pytest.mark.some(1, "faults of a drill")
PAGE = (ROOT / "docs/drill.md").read_text()
LEFT = """
docker ps --all --quiet --filter label=toolkit.drill
docker volume ls --quiet --filter label=toolkit.drill
docker volume ls --quiet | grep ^drill- || :
docker network ls --quiet --filter label=toolkit.drill
ls -A /run/secrets/.drill /var/lib/toolkit/drill 2>/dev/null | grep drill- || :
nft list tables | grep toolkit_drill || :
"""


@pytest.fixture(scope="module")
def site(lab: Lab, registry: str, s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drilled]:
    yield drilled(tmp_path_factory.mktemp("drilled") / "repo", lab, s3)
    for name in ("drilled", "spare"):
        lab.remove(name)


def documented(line: str) -> list[str]:
    """The words of a command that docs/drill.md shows, for this site: its `prod` is our `box`."""
    assert f"\ninvoke {line}\n" in PAGE.replace("```sh lab", ""), line
    return ["box" if word == "prod" else word for word in line.split()]


def backups(site: Drilled) -> Backups:
    return Backups.of(load(site.repo.root / "hosts/box.yml"), Keyring({**os.environ, **site.repo.env}))


def checks(report: dict[str, Any], state: str) -> dict[str, str]:
    return {f"{one['subject']}: {one['what']}": one["evidence"] for one in report["checks"] if one["state"] == state}


def test_a_whole_stack_passes_beside_production_which_stays_as_it_was(site: Drilled) -> None:
    identity = (site.repo.root / "identity").read_bytes().split()[-1]
    escrow = site.escrow.read_bytes().strip()
    lent = [identity, escrow, site.s3.operator[1].reveal()]
    before = site.production()
    with watching(*lent, leave=b"TOOLKIT_DRILL_KEY") as seen:
        words = documented("drill --host prod --on prod --beside-production --identity escrow")
        said = site.repo.invoke(*words, "--json")
    assert said.code == 0, said
    report = said.data
    assert seen == set()
    assert site.production() == before
    assert site.repo.on_host(LEFT) == ""
    assert checks(report, "bad") == checks(report, "unknown") == {}
    assert (report["verdict"], report["level"], report["host"], report["where"]) == ("passed", 4, "box", "box")
    good = checks(report, "good")
    assert good["postgres/db: taskflow: counts"].startswith("2 counts, 500 in total")
    for wanted in ("api: healthy", "proxy: healthy", "redis/cache: GET kept", "volume/sent: files"):
        assert wanted in good
    assert "worker: a worker, by its name" in good["sandbox: services left off"]
    # What the notifier tries is refused and told, by address and by name.
    tried = good["sandbox: notifier tried to reach out"]
    assert "192.0.2.7:443/tcp" in tried
    assert "mail.example.com" in tried
    assert " packets were refused" in good["sandbox: way out"]
    assert "none; 0 packets" not in good["sandbox: way out"]
    assert len(report["opened_with"]) == 2
    assert report["loss"]["told_by"] == "canary"
    assert 0 < report["rto"] < 1800
    _kept_as_evidence(site, report)
    # Neither the identity nor a secret of the stack is in what was written, here, there or in a journal.
    told = "".join(Path(path).read_text() for path in report["files"]).encode()
    on_host = site.repo.on_host("cat /var/log/toolkit/audit.jsonl; journalctl --no-pager --quiet").encode()
    values = [(ROOT / ".lab" / f"{name}-password").read_bytes().strip() for name in ("postgres", "redis")]
    assert [one for one in (*lent, *values) if one in told or one in on_host] == []
    found = site.repo.on_host(
        "grep -rlF -f - /var/lib/toolkit /tmp /var/tmp /root <<'END' || :\n" + identity.decode() + "\nEND"
    )
    assert found == ""


def _kept_as_evidence(site: Drilled, report: dict[str, Any]) -> None:
    file, _, page = report["files"]
    assert site.repo.invoke("drill.check", file).code == 0
    assert Path(page).read_text().startswith("<!doctype html>")
    owner = backups(site).owner
    stored = [key for key in report["evidence"] if key.endswith(".json")]
    assert signed.open_signed(owner.get(stored[0])).report.snapshot == report["snapshot"]
    assert "toolkit_drill_last_passed 1\n" in site.repo.on_host("cat /var/lib/toolkit/metrics/drill.prom")
    # From now on the snapshot is kept for being proven.
    plan = site.repo.invoke("backup.expire", "--host", "box", "--plan", "--json")
    assert "the newest that a drill has proven" in plan.out


def test_production_is_refused_unless_it_is_said(site: Drilled) -> None:
    said = site.drill("--on", "box")
    assert said.code == 10
    assert "add --beside-production" in said.err
    assert site.repo.on_host(LEFT) == ""


def test_every_file_comes_back_here_and_a_missing_pack_fails(site: Drilled) -> None:
    report = site.report("--on", "local", "--level", "2")
    assert checks(report, "good")["files: files as listed"].endswith("each compared")
    found = backups(site)
    snapshot = found.repository(print).newest()
    info = next(iter(snapshot.manifest.packs.values()))
    key = pack_key("box", snapshot.manifest.epoch, info.digest)
    body = found.owner.get(key)
    found.owner.delete(key)
    try:
        for level, phase in (("1", "store: signatures, chain, packs"), ("2", "drill: restore every file")):
            report = site.report("--on", "local", "--level", level, code=1)
            assert phase in checks(report, "bad"), report["checks"]
    finally:
        found.owner.put_new(key, body)
    assert site.report("--on", "local", "--level", "0")["verdict"] == "passed"


@FAULT
def test_a_count_that_differs_and_a_query_that_fails_are_told_apart(site: Drilled) -> None:
    """A second snapshot is signed with counts that its data does not have, as a dump that lost a row would."""
    site.repo.done("backup", "--host", "box")
    found = backups(site)
    snapshot = found.repository(print).newest()
    key = SigningKey(Secret(bytes.fromhex(site.repo.on_host("od -An -tx1 -v /var/lib/toolkit/backup/signing.key"))))
    sources = [replace(one, facts=_one_more(one.facts)) for one in snapshot.manifest.sources]
    sealed = manifest.seal(replace(snapshot.manifest, sources=sources), key, found.recipients)
    found.owner.overwrite(snapshot.name.key("box"), sealed)
    asked = {"source": "postgres/db", "database": "taskflow", "query": "SELECT count(*) FROM tasks", "at_least": 501}
    site.change(queries=[asked])
    report = site.report("--level", "3", "--snapshot", "2", code=1)
    assert checks(report, "bad") == {
        "postgres/db: taskflow: count of public.tasks": "expected 501, found 500",
        "postgres/db: SELECT count(*) FROM tasks": 'expected at least 501, found "500"',
    }
    assert "api: healthy" not in checks(report, "good")
    assert site.on_spare(LEFT) == ""
    assert site.on_spare("docker images --quiet; ls /opt/toolkit/releases | wc -l") == "1\n"
    listed = site.repo.invoke("drill.report", "--host", "box")
    assert listed.code == 1
    assert "FAILED" in listed.out


def _one_more(facts: Any) -> dict[str, Any]:
    counts = dict(facts.get("counts", {}))
    if "public.tasks" in counts:
        counts["public.tasks"] += 1
    return {**facts, **({"counts": counts} if counts else {})}


@FAULT
def test_a_killed_drill_is_cleaned_up_after(site: Drilled) -> None:
    """Killed by the machine, it can do nothing itself; cut off by us, it takes its sandbox away."""
    child = site.repo.start(*documented("drill --host prod"), "--snapshot", "1")
    _until(site, "docker ps --quiet --filter label=toolkit.drill | grep -q .")
    busy = site.drill("--level", "3", "--snapshot", "1")
    assert busy.code == 24, busy
    site.on_spare("kill -KILL $(pgrep -f '[d]rill run')")
    child.communicate(timeout=60)
    assert child.returncode == 13
    assert "drill-" in site.on_spare(LEFT)
    cleaned = site.repo.done(*documented("drill.clean --host prod"), "--json")
    assert len(json.loads(cleaned.out)["removed"]) == 1
    assert site.on_spare(LEFT) == ""

    child = site.repo.start("drill", "--host", "box", "--snapshot", "1")
    _until(site, "docker ps --quiet --filter label=toolkit.drill | grep -q .")
    child.kill()
    child.communicate(timeout=60)
    _until(site, f'[ -z "$({LEFT})" ]')
    assert site.on_spare(LEFT) == ""


def _until(site: Drilled, condition: str) -> None:
    deadline = time.monotonic() + 90
    while site.on_spare(f"if {condition}; then echo yes; fi") != "yes\n":
        assert time.monotonic() < deadline, condition
        time.sleep(0.3)


@pytest.mark.full
def test_a_fresh_lab_host_is_made_for_a_drill_and_removed(site: Drilled, lab: Lab) -> None:
    # A test before this one asks for what is not there.
    site.change(queries=QUERIES)
    found = backups(site)
    wish = drills.wish_of(found, drills.Asked(on="lab", snapshot="1"))
    os.environ.update(site.repo.env)
    report = drills_lab.drill(ROOT, wish, drills.reach_of(found, wish), drills.logins_of(found), (), Silent())
    assert report.verdict == "passed", [one for one in report.checks if one.state != "good"]
    assert not [name for name in lab.home.state().hosts if name.startswith("drill-")]
    names = subprocess.run(
        ["docker", "ps", "--all", "--format", "{{.Names}}"], capture_output=True, text=True, check=True
    )
    assert lab.home.name("drill-") not in names.stdout
