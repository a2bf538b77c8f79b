"""Backups where they are made: a host with a running stack backs itself up, on schedule and by hand, and tells."""

import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.steps import Repository, repository, until
from toolkit.config.load import load
from toolkit.crypto import age
from toolkit.lab import Lab
from toolkit.lab.images import publish
from toolkit.lab.services import S3
from toolkit.repository import Repository as Reader
from toolkit.repository import Snapshot
from toolkit.sources.stored import FromSnapshot, facts_of
from toolkit.vault.identity import Keyring
from toolkit.workflows.backups import Backups

pytestmark = pytest.mark.lab
FAULT = pytest.mark.some(2, "faults of backups on a host")

ROOT = Path(__file__).parents[2]
OPERATOR, HOST = "arn:aws:iam:::user/operator", "arn:aws:iam:::user/host"
RECEIVER = Path(__file__).with_name("receiver.py").read_text()
PING = "ping-canary-1138"
AGENT = "/opt/toolkit/current/bin/agent"
STATE = "/var/lib/toolkit/backup"
RECEIVE = f"""
cat >/run/receiver.py <<'END'
{RECEIVER}
END
touch /run/received
systemctl reset-failed receiver 2>/dev/null || :
systemctl is-active --quiet receiver ||
  systemd-run --quiet --unit=receiver python3 /run/receiver.py 9999 /run/received
until curl --silent --output /dev/null http://127.0.0.1:9999/; do sleep 0.1; done
"""


@dataclass
class Backed:
    """One host that backs taskflow up, seen from its repository and past the toolkit."""

    repo: Repository
    s3: S3
    lab: Lab

    def change(self, **keys: Any) -> None:
        """Change the backup file, and tell the host."""
        path = self.repo.root / "backups/box.yml"
        content = {**yaml.safe_load(path.read_text()), **keys}
        path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
        self.repo.done("provision", "--host", "box")

    def back_up(self) -> dict[str, Any]:
        found: dict[str, Any] = self.repo.done("backup", "--host", "box", "--json").data
        return found

    @property
    def backups(self) -> Backups:
        return Backups.of(load(self.repo.root / "hosts/box.yml"), Keyring({**os.environ, **self.repo.env}))

    def newest(self) -> Snapshot:
        reader: Reader = self.backups.repository(print)
        return reader.newest()

    def runs(self) -> list[dict[str, Any]]:
        text = self.repo.on_host(f"cat {STATE}/runs.jsonl")
        return [json.loads(line) for line in text.splitlines()]

    def metrics(self) -> dict[str, float]:
        text = self.repo.on_host("cat /var/lib/toolkit/metrics/backup.prom")
        rows = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name.removeprefix("toolkit_backup_"): float(value) for name, _, value in rows}

    def told(self) -> list[str]:
        """Return the kinds of messages, but for what is odd about a backup; pings are lines of text."""
        lines = self.repo.on_host("cat /run/received").splitlines()
        kinds = [json.loads(line)["kind"] for line in lines if line.startswith("{")]
        return [kind for kind in kinds if kind != "backup.anomaly"]

    def sql(self, text: str) -> str:
        line = "docker exec -i taskflow-db-1 psql -U taskflow -qtA taskflow"
        return self.repo.on_host(f"{line} <<'END'\n{text}\nEND")


@pytest.fixture(scope="module")
def host(lab: Lab, registry: str, s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backed]:
    yield backed_host(lab, s3, tmp_path_factory.mktemp("backed") / "repo")
    lab.remove("backed")


@pytest.fixture
def backed(host: Backed) -> Iterator[Backed]:
    """The host, told again what its backup file says once a test has changed that."""
    path = host.repo.root / "backups/box.yml"
    before = path.read_text()
    yield host
    if path.read_text() != before:
        path.write_text(before)
        host.repo.done("provision", "--host", "box")


def backed_host(lab: Lab, s3: S3, folder: Path) -> Backed:
    """Provision a host with a backup file and deploy taskflow on it."""
    publish(lab, ROOT / "examples/taskflow")
    # Debian 12, because its guests have limits of memory on every kind of machine.
    repo = repository(folder, lab, lab.host("backed", "debian12", stocked=True))
    identities = [age.new_identity() for _ in range(2)]
    (repo.root / "identity").write_bytes(identities[0].reveal())
    (repo.root / "identity").chmod(0o600)
    (repo.root / "secrets").mkdir()
    recipients = "".join(f"{age.recipient_of(one)}\n" for one in identities)
    (repo.root / "secrets/recipients.txt").write_text(recipients)
    repo.env.update(
        TOOLKIT_IDENTITY=str(repo.root / "identity"),
        OPERATOR_KEY=s3.operator[0],
        OPERATOR_SECRET=s3.operator[1].reveal().decode(),
        HOST_KEY=s3.host[0],
        HOST_SECRET=s3.host[1].reveal().decode(),
        PING=f"http://127.0.0.1:9999/{PING}",
        HOOK="http://127.0.0.1:9999/hook-canary-0815",
    )
    users = {
        "operator": {"access_key": "env:OPERATOR_KEY", "secret_key": "env:OPERATOR_SECRET", "name": OPERATOR},
        "host": {"access_key": "env:HOST_KEY", "secret_key": "env:HOST_SECRET", "name": HOST},
    }
    said = {
        "repository": {"url": f"s3://test-{secrets.token_hex(6)}/site?endpoint={s3.inside}", **users},
        "lock": False,
        "ping": "env:PING",
        "schedule": "daily",
        "pause": {"services": ["worker"]},
        "paths": [{"path": "/srv/files", "name": "files"}],
    }
    (repo.root / "backups").mkdir()
    (repo.root / "backups/box.yml").write_text(yaml.safe_dump(said))
    repo.change(
        lambda content: content.update(notify=[{"name": "ops", "url": "env:HOOK", "on": ["backup"]}], watchdog=False)
    )
    repo.on_host(RECEIVE + "mkdir -p /srv/files && echo hello >/srv/files/greeting")
    assert repo.invoke("backup.init", "--host", "box", "--create", "--fix").code == 0
    repo.done("provision", "--host", "box")
    repo.done("deploy", "--host", "box")
    return Backed(repo, s3, lab)


def test_a_running_stack_is_backed_up_whole(backed: Backed) -> None:
    backed.sql("INSERT INTO tasks (title) SELECT 'row ' || n FROM generate_series(1, 1000) n")
    said = backed.repo.done("backup", "--host", "box")
    assert re.search(r"^postgres/db +\S+ \S+ +\d+ +1\d\d\d$", said.out, re.MULTILINE), said
    assert "box: complete as " in said.out
    assert "→ back up box" in said.err
    backed.repo.done("backup.trust", "--host", "box")
    snapshot = backed.newest()
    facts = snapshot.manifest.facts
    assert facts["stack"] == "taskflow"
    assert facts["sources"]["postgres/db"]["service"] == "db"
    assert facts["barrier"]["paused"] == ["worker"]
    names = {info.name for info in snapshot.manifest.sources}
    assert {"stack/release", "stack/secrets", "stack/files", "files", "redis/cache/dump.rdb"} <= names, names
    counts = [one["counts"] for one in facts_of(snapshot.manifest.sources, "postgres/db").values() if "counts" in one]
    assert sum(count for one in counts for count in one.values()) >= 1000
    found = FromSnapshot(snapshot, "stack/secrets")
    assert any(name.startswith("_env-") for name in found.names)
    [run] = backed.runs()
    assert (run["result"], run["unread"], run["code"]) == ("complete", [], 0)
    assert backed.metrics()['last_result{result="complete"}'] == 1
    assert backed.repo.done("provision", "--host", "box", "--json").data["changes"] == 0


PAGE = (ROOT / "docs/backup.md").read_text()


@pytest.mark.some(1, "pages whose commands are run")
def test_what_the_page_says_of_hosts_works(backed: Backed) -> None:
    [said] = re.findall(r"^```yaml stack\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    path = backed.repo.root / "backups/box.yml"
    keys = yaml.safe_load(said.replace("secret:backup_ping", "env:PING"))
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **keys}))
    [block] = re.findall(r"^```sh stack\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines():
        backed.repo.done(*line.replace("prod", "box").split()[1:])


def test_what_is_captured_is_shown_with_reasons(backed: Backed) -> None:
    found = backed.repo.done("backup.sources", "--host", "box", "--json").data
    by_name = {one["name"]: one for one in found["sources"]}
    assert by_name["postgres/db"]["service"] == "db"
    assert by_name["files"] == {
        "name": "files", "kind": "tree", "reason": "listed in the backup file", "path": "/srv/files",
    }  # fmt: skip
    assert ["volume taskflow_db_data", "its data is in postgres/db"] in found["left"]
    assert "service cache" in backed.repo.done("backup.sources", "--host", "box").out


def test_status_is_judged_here_and_knows_what_the_host_says(backed: Backed) -> None:
    # A second host, which never answers and never backed up: it spoils nobody else's line.
    dead = {"connection": {"address": "127.0.0.1", "port": 9, "user": "nobody"}}
    (backed.repo.root / "hosts/dead.yml").write_text(yaml.safe_dump(dead))
    (backed.repo.root / "backups/dead.yml").write_text((backed.repo.root / "backups/box.yml").read_text())
    said = backed.repo.invoke("backup.status", "--json")
    (backed.repo.root / "hosts/dead.yml").unlink()
    (backed.repo.root / "backups/dead.yml").unlink()
    assert said.code == 1
    box, other = said.data
    assert (box["good"], box["record"]["result"], box["snapshots"] > 0) == (True, "complete", True), box
    assert 0 <= box["age"] < 600
    assert 0 < box["next"] - time.time() <= 86400 + 400
    assert other["complaints"][0].startswith("the host: ")
    assert "there is no backup yet" in other["complaints"]
    assert "complete" in backed.repo.done("backup.status", "--host", "box").out
    backed.change(schedule=False)
    unknown = backed.repo.done("backup.status", "--host", "box", "--json").data
    assert unknown[0]["notes"] == ["nothing says how old a backup may be: set `schedule` or `targets.rpo`"]
    assert backed.repo.on_host("systemctl is-enabled toolkit-backup.timer || :").strip() == "disabled"


def test_one_that_is_stale_is_told_by_its_exit_code(backed: Backed) -> None:
    path = backed.repo.root / "backups/box.yml"
    path.write_text(path.read_text().replace("schedule: daily", "schedule: false") + "targets: {rpo: 1s}\n")
    said = backed.repo.invoke("backup.status", "--host", "box")
    assert said.code == 1
    assert "stale: the newest backup is" in said.out


def test_no_secret_of_the_store_shows_anywhere_on_the_host(backed: Backed) -> None:
    secret, found = backed.repo.env["HOST_SECRET"], ""
    before, deadline = len(backed.runs()), time.monotonic() + 300
    backed.repo.on_host("systemctl start --no-block toolkit-backup.service")
    while len(backed.runs()) == before:
        assert time.monotonic() < deadline, backed.repo.on_host("journalctl --unit=toolkit-backup --lines=30")
        found += backed.repo.on_host(
            "for file in /proc/[0-9]*/cmdline /proc/[0-9]*/environ; do "
            "tr '\\0' '\\n' <$file 2>/dev/null; done | sort | uniq"
        )
    assert backed.runs()[-1]["who"] == "the schedule"
    kept = backed.repo.on_host(
        "journalctl --no-pager --output=cat; find /etc/toolkit /var/lib/toolkit /var/log /tmp /run/toolkit -type f "
        "-exec cat {} + 2>/dev/null | tr -cd '[:print:]\\n'"
    )
    for canary in (secret, PING):
        assert canary not in found
        assert canary not in kept
    assert "toolkit-backup" in kept


@FAULT
def test_a_database_that_is_down_makes_it_incomplete_and_everybody_knows(backed: Backed) -> None:
    backed.repo.on_host(RECEIVE + "docker stop --time 5 taskflow-db-1 >/dev/null; : >/run/received")
    said = backed.repo.invoke("backup", "--host", "box")
    backed.repo.on_host("docker start taskflow-db-1 >/dev/null")
    assert said.code == 3, said
    assert "box: incomplete as " in said.out
    assert "not read: postgres/db" in said.out
    assert backed.metrics()["incomplete"] == 1
    status = backed.repo.invoke("backup.status", "--host", "box")
    assert status.code == 1
    assert "the last run: incomplete" in status.out
    until("docker exec taskflow-db-1 pg_isready --quiet --host=127.0.0.1", backed.repo, 60)
    backed.repo.done("backup", "--host", "box")
    until("grep -q backup.recovered /run/received", backed.repo, 30)
    assert backed.told() == ["backup.incomplete", "backup.recovered"]


@FAULT
def test_credentials_that_are_wrong_fail_with_the_way_out(backed: Backed) -> None:
    right = backed.repo.env["HOST_SECRET"]
    backed.repo.env["HOST_SECRET"] = "wrong-canary-2187"
    backed.repo.done("provision", "--host", "box")
    said = backed.repo.invoke("backup", "--host", "box")
    backed.repo.env["HOST_SECRET"] = right
    backed.repo.done("provision", "--host", "box")
    assert said.code == 25, said
    assert "refuses these credentials" in said.err
    assert "hint: check the access key and secret key" in said.err
    assert backed.runs()[-1]["result"] == "failed"


@FAULT
def test_a_full_disk_fails_and_the_next_run_goes_on(backed: Backed) -> None:
    # As much room as the state takes, and nothing more.
    backed.repo.on_host(
        f"mkdir -p /run/full && mount -t tmpfs -o size=1m tmpfs /run/full && cp -a {STATE}/. /run/full/ &&"
        f"mount --bind /run/full {STATE} && {{ head -c 2M /dev/zero >{STATE}/filler 2>/dev/null || :; }}"
    )
    said = backed.repo.invoke("backup", "--host", "box")
    backed.repo.on_host(f"umount {STATE} /run/full")
    assert said.code in (12, 23), said
    backed.back_up()


def test_a_host_looks_by_itself_how_old_its_newest_backup_is(backed: Backed) -> None:
    check = "systemctl start toolkit-backup-check.service"
    said = backed.repo.on_host(f"systemctl is-active toolkit-backup-check.timer; {check} && echo young")
    assert said.split() == ["active", "young"]
    backed.repo.on_host(RECEIVE + ": >/run/received")
    # As if no run had ever succeeded since it was asked for.
    backed.repo.on_host(f"cd {STATE} && mv runs.jsonl kept && touch -d '9 days ago' /etc/toolkit/backup.json")
    try:
        words = "journalctl --unit toolkit-backup-check --output cat --no-pager | tail -5"
        said = backed.repo.on_host(f"{check} 2>/dev/null || {words}")
    finally:
        backed.repo.on_host(f"mv {STATE}/kept {STATE}/runs.jsonl")
    assert "there is no complete backup yet, and it was asked for 9 d" in said
    until("grep -q backup.stale /run/received", backed.repo, 30)
    assert backed.back_up()["result"] == "complete"
    until("grep -q backup.recovered /run/received", backed.repo, 30)
    assert backed.told() == ["backup.stale", "backup.recovered"]
    assert backed.repo.on_host(f"{check} && echo young").strip() == "young"


@FAULT
def test_two_never_run_at_once_and_one_that_is_killed_is_gone_on_with(backed: Backed) -> None:
    backed.repo.on_host(RECEIVE + "head -c 12M /dev/urandom >/srv/files/noise; : >/run/received")
    backed.change(bandwidth="1MB", pause={"services": ["worker"], "until": "read"})
    backed.repo.on_host("systemctl start --no-block toolkit-backup.service")
    until("docker ps | grep -q Paused && grep -q the.schedule /var/lib/toolkit/backup/at-work.json", backed.repo, 30)
    second = backed.repo.invoke("backup", "--host", "box")
    assert second.code == 24, second
    assert "the schedule is backing this host up since" in second.err
    backed.repo.on_host("kill -KILL $(systemctl show --value --property=MainPID toolkit-backup.service)")
    until("systemctl is-failed toolkit-backup.service && ! docker ps | grep -q Paused", backed.repo, 30)
    assert backed.runs()[-1]["result"] == "cut off"
    backed.change(bandwidth=None)
    assert backed.back_up()["result"] == "complete"
    until("grep -q backup.recovered /run/received", backed.repo, 30)
    assert backed.told() == ["backup.failed", "backup.recovered"]


@FAULT
def test_a_store_that_is_away_is_waited_for(backed: Backed) -> None:
    backed.repo.on_host("head -c 1M /dev/urandom >/srv/files/more")
    away = f"OUTPUT --destination {backed.lab.address('s3')} --protocol tcp --jump REJECT --reject-with tcp-reset"
    backed.repo.on_host(f"iptables --insert {away}")
    process = backed.repo.start("backup", "--host", "box")
    until(f"grep -q 'waiting, for another' $(ls -t {STATE}/journals/*.jsonl | head -1)", backed.repo, 90)
    backed.repo.on_host(f"iptables --delete {away}")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, (out, err)
    assert "waiting, for another" in err
    assert "complete as" in out


@FAULT
def test_cron_starts_it_without_a_terminal(backed: Backed) -> None:
    backed.change(cron=True, jitter=False)
    assert backed.repo.on_host("systemctl is-enabled toolkit-backup.timer || :").strip() == "disabled"
    line = backed.repo.on_host("tail -1 /etc/cron.d/toolkit-backup")
    assert line.startswith("0 0 * * * root nice -n 10 /opt/toolkit/current/bin/agent backup run")
    before = len(backed.runs())
    backed.repo.on_host(f"env -i setsid sh -c '{line.partition(' root ')[2].strip()}' </dev/null")
    assert backed.runs()[before:][0]["result"] == "complete"
    until("journalctl --identifier=toolkit-backup --no-pager | grep -q 'complete: '", backed.repo, 10)
    backed.change(cron=None)
    assert backed.repo.on_host("systemctl is-enabled toolkit-backup.timer").strip() == "enabled"
    assert "toolkit-backup" not in backed.repo.on_host("ls /etc/cron.d")


@FAULT
def test_a_reboot_in_the_middle_is_gone_on_with_by_itself(backed: Backed) -> None:
    backed.repo.on_host("head -c 12M /dev/urandom >/srv/files/noise")
    backed.change(bandwidth="1MB", pause={"services": ["worker"], "how": "stop", "until": "read"})
    before = len(backed.runs())
    backed.repo.on_host("systemctl start --no-block toolkit-backup.service")
    until("docker ps --all | grep -q 'worker.*Exited\\|Exited.*worker'", backed.repo, 40)
    backed.lab.reboot("backed")
    until(f"[ $(wc -l <{STATE}/runs.jsonl) -ge {before + 2} ]", backed.repo, 120)
    assert [run["result"] for run in backed.runs()[before:]] == ["cut off", "complete"]
    until("[ $(docker ps --quiet --filter label=com.docker.compose.service=worker | wc -l) = 2 ]", backed.repo, 30)


@FAULT
def test_the_log_of_a_database_is_shipped_all_the_time_and_a_gap_is_told(backed: Backed) -> None:
    path = backed.repo.root / "backups/box.yml"
    path.write_text(path.read_text() + "sources: [{kind: postgres, service: db, wal: true}]\n")
    backed.repo.invoke("backup.init", "--host", "box", "--fix")
    backed.repo.on_host(RECEIVE + ": >/run/received")
    backed.repo.done("provision", "--host", "box")
    until(f"grep -q '\"shipped\": 1' {STATE}/wal.json", backed.repo, 60)
    backed.sql("INSERT INTO tasks (title) VALUES ('shipped')")
    before = json.loads(backed.repo.on_host(f"cat {STATE}/wal.json"))["postgres/db"]
    backed.repo.on_host("systemctl restart toolkit-backup-wal.service")
    until(f"! grep -q 'shipped.: {before['shipped']}' {STATE}/wal.json", backed.repo, 60)
    backups = backed.backups
    pin = replace(backups.pin(), sequence=0, digest="")
    reader = Reader(backups.owner, "box-wal", backups.keyring.identities(), pin)
    names = {info.name for name in reader.snapshots() for info in reader.open(name).manifest.sources}
    assert "wal/db/base.tar" in names, names
    assert any(name.startswith("wal/db/segments/") for name in names), names
    assert "backup_wal_shipped_timestamp_seconds" in backed.repo.on_host("cat /var/lib/toolkit/metrics/backup_wal.prom")
    # Somebody drops the slot: the server forgets log that was not shipped.
    backed.sql("SELECT pg_drop_replication_slot('toolkit')")
    backed.repo.on_host("systemctl restart toolkit-backup-wal.service")
    until("grep -q backup.gap /run/received", backed.repo, 60)
    backed.repo.on_host("systemctl restart toolkit-backup-wal.service")
    until("grep -q backup.recovered /run/received", backed.repo, 60)
    until(f"! grep -q 'base.: 0.0' {STATE}/wal.json", backed.repo, 30)
    assert json.loads(backed.repo.on_host(f"cat {STATE}/wal.json"))["postgres/db"]["base"] > before["base"]
