"""A part of a stack's data, back in its place on a real host: one database at a moment, one file, one folder."""

import re
import shlex
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
import yaml

from tests.kept import Kept, kept
from tests.steps import ROOT, until
from toolkit.lab import Lab
from toolkit.lab.services import S3

pytestmark = pytest.mark.lab

STATE = "/var/lib/toolkit/backup"
FILES = "/var/lib/docker/volumes/taskflow_files/_data"
NUMBERS = "SELECT n FROM numbers ORDER BY n"
# Each takes minutes: a base has to be taken, and log shipped.
MOMENT = pytest.mark.some(1, "moments of a database")
NOW = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\\\"T\\\"HH24:MI:SS.US\\\"Z\\\"')"


@pytest.fixture(scope="module")
def site(lab: Lab, registry: str, s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """A host whose stack has a snapshot, and whose database ships its log: a base of it is stored."""
    made = kept(tmp_path_factory.mktemp("parts"), lab, s3, lab.host("parts", stocked=True))
    path = made.repo.root / "backups/box.yml"
    said = {**yaml.safe_load(path.read_text()), "sources": [{"kind": "postgres", "service": "db", "wal": True}]}
    path.write_text(yaml.safe_dump(said))
    made.repo.invoke("backup.init", "--host", "box", "--fix")
    made.repo.on_host(f"mkdir -m 750 {FILES}/folder && echo one >{FILES}/folder/one && chown -R 33:33 {FILES}/folder")
    made.rows("CREATE TABLE numbers (n int, at timestamptz DEFAULT clock_timestamp())")
    made.repo.done("provision", "--host", "box")
    made.save()
    ship(made)
    yield made
    lab.remove("parts")


def ship(site: Kept) -> None:
    """Have everything shipped that was written up to now. A restart makes the host try at once."""
    begun = site.repo.on_host("date +%s").strip()
    site.repo.on_host("systemctl restart toolkit-backup-wal.service")
    line = f'python3 -c \'import json; one = json.load(open("{STATE}/wal.json"))["postgres/db"]; '
    until(f'{line}exit(not (one["shipped"] > {begun} + 1 and one["base"] and not one["failures"]))\'', site.repo, 180)
    # A base serves the moments after the second in which it was finished.
    time.sleep(2)


def write(site: Kept, *numbers: int) -> None:
    """Write rows, each in a transaction of its own."""
    for number in numbers:
        site.rows(f"INSERT INTO numbers VALUES ({number})")


def now(site: Kept) -> str:
    """The database's own time: behind every commit before, and before every commit behind."""
    return site.rows(NOW)[0]


def numbers(site: Kept) -> list[int]:
    return [int(row) for row in site.rows(NUMBERS)]


def timeline(site: Kept) -> int:
    return int(site.rows("SELECT timeline_id FROM pg_control_checkpoint()")[0])


def documented(kind: str) -> list[str]:
    """The words of the commands of one block of docs/restore.md, for this host."""
    page = (ROOT / "docs/restore.md").read_text().replace("prod", "box")
    [block] = re.findall(rf"^```sh {kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return [line.removeprefix("invoke ") for line in block.splitlines()]


def test_one_file_comes_back_in_its_place_and_undo_brings_the_other_back(site: Kept) -> None:
    site.repo.on_host(f"echo spoiled >{FILES}/0 && chmod 600 {FILES}/0")
    plan, put_back = documented("excerpt")
    planned = site.repo.invoke(*plan.split(), "--json")
    assert planned.code == 2, planned
    [row] = planned.data["sources"]
    assert (row["source"], row["replaces"]) == ("volume/files/0", "volume taskflow_files: 0")
    assert row["bytes"] == len("file 0\n" * 100)
    assert planned.data["stops"] == ["scribe"]
    assert "postgres/db" in planned.data["others"]
    assert site.repo.on_host(f"cat {FILES}/0") == "spoiled\n"
    before = site.repo.containers()
    done = site.repo.done(*put_back.split(), "--json").data
    assert (done["result"], [one["source"] for one in done["sources"]]) == ("restored", ["volume/files/0"])
    assert site.repo.on_host(f"head -n 1 {FILES}/0; stat -c %a {FILES}/0") == "file 0\n644\n"
    # Nothing but the scribe, which uses the volume, was stopped.
    after = site.repo.containers()
    assert {name for name in before if before[name] != after.get(name)} <= {"taskflow-scribe-1"}
    [kept_now] = [
        one for one in site.repo.done("restore.kept", "--host", "box", "--json").data if one["id"] == done["kept"]
    ]
    assert kept_now["sources"] == ["volume/files/0"]
    site.repo.done("restore.undo", "--host", "box", "--yes")
    assert site.repo.on_host(f"cat {FILES}/0; stat -c %a {FILES}/0") == "spoiled\n600\n"
    site.repo.done("restore.undo", "--host", "box", "--yes")
    assert site.repo.on_host(f"head -n 1 {FILES}/0") == "file 0\n"
    site.repo.done("restore.forget", "--host", "box", "--yes")
    assert "restore-" not in site.repo.on_host("docker volume ls --quiet")


def test_what_was_deleted_is_moved_in_and_taken_out_again(site: Kept) -> None:
    site.repo.on_host(f"rm -r {FILES}/folder")
    inside = site.restore("--path", "volume/files/folder/one")
    assert inside.code == 12, inside
    assert "folder is not there in volume/files" in inside.err
    assert "--path volume/files/folder" in inside.err
    assert site.restore("--path", "volume/files/folder").code == 0
    assert site.repo.on_host(f"cat {FILES}/folder/one; stat -c '%a %u:%g' {FILES}/folder") == "one\n750 33:33\n"
    site.repo.done("restore.undo", "--host", "box", "--yes")
    assert site.repo.on_host(f"ls -d {FILES}/folder || true") == ""
    site.repo.done("restore.undo", "--host", "box", "--yes")
    assert site.repo.on_host(f"cat {FILES}/folder/one") == "one\n"


def test_a_link_that_a_container_planted_leads_a_restore_nowhere(site: Kept) -> None:
    outside = site.repo.on_host(
        "mkdir -p /srv/elsewhere && echo mine >/srv/elsewhere/one && stat -c %i /srv/elsewhere/one"
    )
    site.repo.on_host(f"rm -rf {FILES}/folder && ln -s /srv/elsewhere {FILES}/folder")
    said = site.restore("--path", "volume/files/folder/one")
    assert said.code == 12, said
    assert site.repo.on_host("cat /srv/elsewhere/one; stat -c %i /srv/elsewhere/one") == f"mine\n{outside}"
    # The link itself changes places with the folder that it stands for.
    assert site.restore("--path", "volume/files/folder").code == 0
    assert site.repo.on_host(f"cat {FILES}/folder/one; cat /srv/elsewhere/one") == "one\nmine\n"


@pytest.mark.parametrize(
    ("path", "code", "told"),
    [
        ("volume/files/foldre/one", 23, "did you mean volume/files/folder/one?"),
        ("volume/files/floder", 23, "did you mean volume/files/folder?"),
        ("postgres/db/globals.sql", 10, "`--source postgres/db` restores it whole"),
        ("volume/files", 10, "`--source volume/files` restores it"),
        ("stack/release", 10, "those with files are volume/files"),
    ],
)
def test_a_path_that_cannot_be_put_back_changes_nothing(site: Kept, path: str, code: int, told: str) -> None:
    before = site.repo.containers()
    said = site.restore("--path", path)
    assert said.code == code, said
    assert told in said.err
    assert site.repo.containers() == before


@MOMENT
def test_a_database_comes_back_as_it_was_between_two_rows_and_undo_brings_the_rest_back(site: Kept) -> None:
    write(site, 1, 2, 3)
    between = now(site)
    write(site, 4, 5)
    site.rows("DELETE FROM tasks")
    ship(site)
    planned = site.repo.invoke("restore", "--host", "box", "--at", between, "--plan", "--json")
    assert planned.code == 2, planned
    assert [one["replaces"] for one in planned.data["sources"]] == ["volume taskflow_db_data"]
    assert planned.data["at"] == between
    assert planned.data["shippings"] >= 1
    assert numbers(site) == [1, 2, 3, 4, 5]
    for line, code in zip(documented("moment"), (2, 0), strict=True):
        # The page's own words, with a moment that this host has.
        said = site.repo.invoke(*shlex.split(line.replace("2026-11-28 03:00", between)))
        assert said.code == code, said
    assert f"as it was at {between}" in site.repo.invoke("restore", "--host", "box", "--at", between, "--plan").out
    site.repo.done("restore.undo", "--host", "box", "--yes")
    assert numbers(site) == [1, 2, 3, 4, 5]
    site.repo.done("restore.forget", "--host", "box", "--yes")
    done = site.restore("--at", between, "--json")
    assert done.code == 0, done
    assert (done.data["result"], done.data["at"], done.data["taken"]) == ("restored", between, between)
    assert done.data["last_commit"] <= between
    [proven] = done.data["sources"]
    assert [one["what"] for one in proven["verdicts"]][-2:] == ["taskflow: pg_amcheck", "taskflow: rows"]
    assert proven["good"]
    assert numbers(site) == [1, 2, 3]
    assert site.repo.invoke("status", "--host", "box").code == 0
    kept_now = site.repo.done("restore.kept", "--host", "box", "--json").data
    assert [(one["taken"], one["sources"]) for one in kept_now] == [(between, ["postgres/db"])]
    said = site.repo.done("restore.undo", "--host", "box", "--yes")
    assert "from before restore" in said.out
    assert numbers(site) == [1, 2, 3, 4, 5]
    # The life from before goes on: what it writes is shipped after what it had shipped.
    write(site, 6)
    later = now(site)
    write(site, 7)
    ship(site)
    assert site.restore("--at", later).code == 0
    assert numbers(site) == [1, 2, 3, 4, 5, 6]


@MOMENT
def test_a_database_that_was_restored_has_moments_of_its_own(site: Kept) -> None:
    # A restore before this one began another life, whose base may not have been taken yet.
    ship(site)
    write(site, 10)
    first = now(site)
    write(site, 19)
    ship(site)
    before = [number for number in numbers(site) if number != 19]
    assert site.restore("--at", first).code == 0
    # It is another life of the database, on another timeline: the host takes a base of it by itself.
    ship(site)
    lived = timeline(site)
    write(site, 11)
    between = now(site)
    write(site, 12)
    ship(site)
    done = site.restore("--at", between)
    assert done.code == 0, done
    assert f"has the data of {between}" in done.out
    assert numbers(site) == [*before, 11]
    assert timeline(site) > lived > 1


@MOMENT
def test_a_moment_that_cannot_be_reached_is_refused_with_the_nearest_that_can(site: Kept) -> None:
    ship(site)
    reached = now(site)
    write(site, 21)
    ship(site)
    # Somebody drops the slot, and the server forgets log that was not shipped; a base begins anew.
    site.rows("SELECT pg_drop_replication_slot('toolkit')")
    write(site, 22)
    site.rows("SELECT pg_switch_wal()")
    write(site, 23)
    lost = now(site)
    write(site, 24)
    time.sleep(2)
    site.rows("CHECKPOINT")
    ship(site)
    write(site, 25)
    ship(site)
    before = site.repo.containers()
    gap = site.restore("--at", lost)
    assert gap.code == 23, gap
    assert "gap in the log of postgres/db between " in gap.err
    assert "the latest moment before it" in gap.err
    early = site.restore("--at", (datetime.fromisoformat(reached) - timedelta(days=1)).isoformat())
    assert early.code == 23, early
    assert "the first base of postgres/db is of" in early.err
    later = site.restore("--at", (datetime.fromisoformat(lost) + timedelta(days=1)).isoformat())
    assert later.code == 10, later
    assert "is in the future" in later.err
    files = site.restore("--at", reached, "--source", "volume/files")
    assert files.code == 10, files
    assert "only a PostgreSQL ships its log; this host ships postgres/db" in files.err
    assert site.repo.containers() == before
    assert site.restore("--at", reached).code == 0
    assert 21 not in numbers(site)
