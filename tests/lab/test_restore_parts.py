"""A part of a stack's data, back in its place on a real host: one database at a moment."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
import yaml

from tests.kept import Kept, kept
from tests.steps import until
from toolkit.lab import Lab
from toolkit.lab.services import S3

pytestmark = pytest.mark.lab

STATE = "/var/lib/toolkit/backup"
NUMBERS = "SELECT n FROM numbers ORDER BY n"
NOW = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\\\"T\\\"HH24:MI:SS.US\\\"Z\\\"')"


@pytest.fixture(scope="module")
def site(lab: Lab, registry: str, s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """A host whose stack has a snapshot, and whose database ships its log: a base of it is stored."""
    made = kept(tmp_path_factory.mktemp("parts"), lab, s3, lab.host("parts", "debian13"))
    path = made.repo.root / "backups/box.yml"
    said = {**yaml.safe_load(path.read_text()), "sources": [{"kind": "postgres", "service": "db", "wal": True}]}
    path.write_text(yaml.safe_dump(said))
    made.repo.invoke("backup.init", "--host", "box", "--fix")
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


def test_a_database_that_was_restored_has_moments_of_its_own(site: Kept) -> None:
    # It is another life of the database, on another timeline: the host takes a base of it by itself.
    ship(site)
    write(site, 11)
    between = now(site)
    write(site, 12)
    ship(site)
    done = site.restore("--at", between)
    assert done.code == 0, done
    assert f"has the data of {between}" in done.out
    assert numbers(site) == [1, 2, 3, 4, 5, 6, 11]
    timeline = "SELECT timeline_id FROM pg_control_checkpoint()"
    assert int(site.rows(timeline)[0]) >= 3


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
