"""Data lost, and hosts lost, on real machines: everything up to the barrier comes back, or nothing was touched.

The host is destroyed at a moment whose seed is printed; ten moments with TOOLKIT_FULL.
"""

import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kept import Kept, Writer, kept
from tests.selection import FULL, SEED
from tests.steps import Repository, until
from toolkit.lab import Lab
from toolkit.lab.services import S3

pytestmark = pytest.mark.lab
FAULT = pytest.mark.some(2, "faults of a restore")

MOMENTS = 10 if FULL else 1
CUTS = ["kill", "reboot"]
POST = "curl -sk -X POST -H 'content-type: application/json' -d '{\"title\": \"%s\"}' https://127.0.0.1/tasks"
COUNT = "SELECT count(*) FROM tasks"
DONE = "SELECT count(*) FROM tasks WHERE status = 'done'"
STATE = "/var/lib/toolkit/restores/taskflow"
# `printf` is the shell's own: what it writes is in no argument. /run is memory.
LOOK = """
printf '%s\\n' '{canaries}' >/run/canaries
{{
  for file in /proc/[0-9]*/cmdline /proc/[0-9]*/environ; do
    tr '\\0' '\\n' <"$file" 2>/dev/null | grep -qFf /run/canaries && echo "$file"
  done
  grep -rlsFf /run/canaries /var/lib/toolkit /var/log /etc /opt /root /tmp /home
  echo looked
}} >/run/seen
"""
CODES = {"sh": 0, "sh plan": 2, "sh lost": 0, "sh after": 0, "sh copy": 0}


@pytest.fixture(scope="module")
def site(lab: Lab, registry: str, s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """A host whose stack has ten tasks and some files, which are in a snapshot."""
    made = kept(tmp_path_factory.mktemp("kept"), lab, s3, lab.host("kept", stocked=True))
    for number in range(10):
        made.repo.on_host(POST % f"kept {number}")
    until(f'docker exec taskflow-db-1 psql -U taskflow -Atc "{DONE}" | grep -qx 10', made.repo, 60)
    made.save()
    yield made
    for name in ("kept", *(f"fresh{number}" for number in range(MOMENTS))):
        if name in lab.home.state().hosts:
            lab.remove(name)


def run(site: Kept, block: str, code: int) -> str:
    """Run a block of a page as a person would, in the repository."""
    tools = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": tools, "PYTHONPATH": str(Path(__file__).parents[2]), **site.repo.env}
    words = ["bash", "-euo", "pipefail", "-c", block]
    done = subprocess.run(
        words, cwd=site.repo.root, env=environ, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == code, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def blocks(site: Kept, part: int) -> list[tuple[str, str]]:
    """The commands of one part of the site's runbook, as it is written today."""
    page = site.repo.done("runbook", "--host", "box").out
    return blocks_in(next(one for one in page.split("\n## ") if one.startswith(f"{part}. ")))


def documented(page: str) -> list[tuple[str, str]]:
    """The commands of a page of the documentation, about this host."""
    return blocks_in((Path(__file__).parents[2] / "docs" / page).read_text().replace("prod", "box"))


def blocks_in(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(sh[a-z ]*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def lines_of(found: list[tuple[str, str]]) -> list[str]:
    return [line for _, block in found for line in block.splitlines()]


def spoil(site: Kept) -> None:
    """Let the stack lose what the snapshot has, and write what it does not have."""
    site.rows("DELETE FROM tasks")
    site.repo.on_host(POST % "after")
    site.repo.on_host("rm -f /var/lib/docker/volumes/taskflow_files/_data/[0-5]")


def volumes(site: Kept) -> set[str]:
    return set(site.repo.on_host("docker volume ls --quiet").split())


def named(found: set[str]) -> set[str]:
    """Without those that a container has which was just being made when its maker was killed: they hold nothing."""
    return {name for name in found if not re.fullmatch("[0-9a-f]{64}", name)}


def mark(site: Kept) -> str:
    return site.repo.on_host(f"ls {STATE}/restore.json 2>/dev/null || true").strip()


@contextmanager
def when(site: Kept, phase: str, then: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a line of shell on the host, with the restore's process id as $pid, the moment it enters a phase."""
    watch = f"""
end=$(($(date +%s) + 90))
until grep -q '"phase": "{phase}"' /run/toolkit/taskflow/driver.json 2>/dev/null; do
  [ "$(date +%s)" -lt $end ] || exit 9
  sleep 0.02
done
pid=$(sed -n 's/.*"pid": \\([0-9]*\\).*/\\1/p' /run/toolkit/taskflow/driver.json)
{then}
"""
    site.repo.on_host("rm -f /run/toolkit/taskflow/driver.json")
    words = site.repo.lab.ssh_command(site.repo.vps, "sudo", "sh", "-s")
    child = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
    )
    assert child.stdin is not None
    child.stdin.write(watch)
    child.stdin.close()
    try:
        yield child
    finally:
        assert child.wait(timeout=120) in (0, 255)


def settled(site: Kept) -> None:
    """Wait until no restore is under way nor left half-way, and the stack serves."""
    free = f"[ ! -e {STATE}/restore.json ] && flock --nonblock /run/toolkit/taskflow/lock true"
    until(free, site.repo, 120)
    until("docker ps --filter health=healthy --quiet | wc -l | grep -qx 6", site.repo, 90)


def test_a_plan_says_what_would_be_replaced_and_changes_nothing(site: Kept) -> None:
    before = site.repo.containers()
    said = site.repo.invoke("restore", "--host", "box", "--plan", "--json")
    assert said.code == 2, said
    assert [one["source"] for one in said.data["sources"]] == ["volume/files", "redis/cache", "postgres/db"]
    assert said.data["sources"][2]["replaces"] == "volume taskflow_db_data"
    assert said.data["age_seconds"] > 0
    refused = site.repo.invoke("restore", "--host", "box")
    assert refused.code == 10, refused
    assert "nothing was changed" in refused.err
    unknown = site.restore("--source", "postgres/nowhere")
    assert unknown.code == 10, unknown
    assert "postgres/db" in unknown.err
    assert site.repo.containers() == before


@FAULT
def test_what_cannot_be_opened_or_believed_ends_before_the_host_hears_of_it(site: Kept) -> None:
    journals = site.repo.on_host(f"ls {STATE} 2>/dev/null || true")
    stranger = site.folder / "stranger"
    subprocess.run(["age-keygen", "-o", str(stranger)], check=True, capture_output=True)
    stranger.chmod(0o600)
    environ = site.repo.env["TOOLKIT_IDENTITY"]
    site.repo.env["TOOLKIT_IDENTITY"] = str(stranger)
    try:
        wrong = site.restore()
    finally:
        site.repo.env["TOOLKIT_IDENTITY"] = environ
    assert wrong.code == 23, wrong
    # A pin of another host: what this one signed is then a stranger's.
    path = site.repo.root / "backups/box.head"
    pin = json.loads(path.read_text())
    path.write_text(json.dumps({**pin, "signing_key": "ab" * 32}))
    try:
        other = site.restore()
    finally:
        path.write_text(json.dumps(pin))
    assert other.code in (10, 23), other
    assert site.repo.on_host(f"ls {STATE} 2>/dev/null || true") == journals


@FAULT
def test_a_restore_that_finds_no_room_touches_nothing(site: Kept) -> None:
    before, there = site.repo.containers(), volumes(site)
    site.repo.on_host("mkdir -p /mnt/full && mount -t tmpfs -o size=8k none /mnt/full")
    try:
        said = site.repo.invoke("restore", "--host", "box", "--to", "/mnt/full/aside", "--path", "volume/files")
    finally:
        site.repo.on_host("umount /mnt/full")
    assert said.code in (12, 23), said
    assert "room" in said.err
    assert site.repo.containers() == before
    assert volumes(site) == there


@FAULT
def test_files_come_back_aside_without_touching_the_stack(site: Kept) -> None:
    before = site.repo.containers()
    said = site.repo.done("restore", "--host", "box", "--to", "/srv/other", "--path", "volume/files", "--json")
    assert said.data["result"] == "aside"
    names = site.repo.on_host("ls /srv/other").split()
    assert "0" in names
    assert site.repo.on_host("head -n 1 /srv/other/0") == "file 0\n"
    assert site.repo.containers() == before


@FAULT
def test_the_runbook_restores_and_what_was_there_is_kept_undone_and_forgotten(site: Kept) -> None:
    for kind, block in blocks(site, 1):
        run(site, block, CODES[kind])
    spoil(site)
    before = volumes(site)
    # The line is lost while it loads; whoever follows comes back to it.
    with when(site, "load", "sleep 1; pkill -f '^sshd-session: admin@'"):
        said = [run(site, block, CODES[kind]) for kind, block in blocks(site, 2)]
    assert "proven and serving" in said[1]
    assert site.rows(COUNT) == ["10"]
    assert site.repo.on_host("cat /var/lib/docker/volumes/taskflow_files/_data/0").startswith("file 0\n")
    assert site.repo.invoke("status", "--host", "box").code == 0
    found = site.repo.done("restore.kept", "--host", "box", "--json").data
    assert [one["sources"] for one in found] == [["volume/files", "redis/cache", "postgres/db"]]
    # docs/restore.md says the same, and goes on where the runbook ends.
    undo, forget, aside = (dict(documented("restore.md"))[f"sh {kind}"] for kind in ("undo", "forget", "aside"))
    assert lines_of(documented("restore.md")[:3]) == lines_of(blocks(site, 2))
    run(site, undo, 0)
    assert site.rows("SELECT title FROM tasks") == ["after"]
    run(site, forget, 0)
    assert volumes(site) == before
    run(site, aside, 0)
    assert site.repo.on_host("head -n 1 /srv/aside/0") == "file 0\n"
    assert site.repo.done("restore.kept", "--host", "box", "--json").data == []
    entry = site.repo.done("audit", "--host", "box", "--json").data[-1]
    assert (entry["verb"], entry["result"]) == ("restore", "aside")


@FAULT
def test_a_restore_that_is_killed_while_it_loads_touched_nothing_and_nobody_deploys_meanwhile(site: Kept) -> None:
    there = volumes(site)
    free = "flock --nonblock /run/toolkit/taskflow/lock touch /run/lock-was-free"
    canaries = [site.repo.env["S3_SECRET"], Path(site.repo.env["TOOLKIT_IDENTITY"]).read_text().strip()]
    look = LOOK.format(canaries="\n".join(canaries))
    with when(site, "load", f"{free}; sleep 1; {look}\nkill -9 $pid"):
        restoring = site.repo.start("restore", "--host", "box", "--yes")
        until("grep -q restore /run/toolkit/taskflow/driver.json", site.repo, 60)
        refused = site.repo.invoke(
            "rollback", "--host", "box", "--to", site.repo.done("releases", "--host", "box", "--json").data["current"]
        )
        _, err = restoring.communicate(timeout=300)
    # Between the kill and the next start nobody holds the lock, and the mark refuses.
    assert refused.code in (12, 24), refused
    assert "restore of" in refused.err
    assert restoring.returncode == 12, err
    assert "nothing in use was touched" in err
    settled(site)
    assert volumes(site) == there
    assert site.repo.on_host("ls /run/lock-was-free 2>/dev/null || true") == ""
    # What the host was lent was in no argument, no environment and on no disk, and is gone.
    assert site.repo.on_host("cat /run/seen; ls -A /run/secrets/.requests; rm /run/canaries") == "looked\n"
    assert site.repo.invoke("status", "--host", "box").code == 0


@pytest.mark.some(1)
@pytest.mark.parametrize("cut", CUTS)
def test_a_restore_that_is_cut_behind_its_swap_puts_the_old_data_back(site: Kept, cut: str) -> None:
    spoil(site)
    there = volumes(site)
    with when(site, "start", "kill -9 $pid" if cut == "kill" else "exit 0") as entered:
        restoring = site.repo.start("restore", "--host", "box", "--yes", "--source", "postgres/db")
        entered.wait(timeout=120)
        if cut == "reboot":
            subprocess.run(["docker", "kill", site.repo.vps.container], check=True, capture_output=True)
            site.repo.lab.reboot("kept")
    settled(site)
    _, err = restoring.communicate(timeout=120)
    assert restoring.returncode in ((12,) if cut == "kill" else (12, 13)), err
    assert cut == "reboot" or "the data from before is in its place" in err
    assert site.rows("SELECT title FROM tasks") == ["after"]
    assert named(volumes(site)) == named(there)


def check_all_is_there(site: Kept, rows: int, files: set[str]) -> None:
    """Count everything that was there at the barrier: rows, jobs of each, and files whole."""
    found = site.rows(COUNT)
    assert int(found[0]) >= rows, (found, rows)
    assert site.rows(
        "SELECT count(*) FROM generate_series(1, (SELECT max(id) FROM tasks)) AS n"
        " WHERE NOT EXISTS (SELECT FROM tasks WHERE id = n)"
    ) == ["0"]
    # A task that waited at the barrier had its job in the queue, or is found overdue: all of them end.
    until(
        f'docker exec taskflow-db-1 psql -U taskflow -Atc "{DONE}" | grep -qxF "$(docker exec taskflow-db-1 psql'
        f' -U taskflow -Atc "{COUNT}")"',
        site.repo,
        90,
    )
    names = site.repo.on_host("ls /var/lib/docker/volumes/taskflow_files/_data").split()
    assert files <= set(names)
    short = "find /var/lib/docker/volumes/taskflow_files/_data -type f -name '[0-9]*' -size -10c"
    assert site.repo.on_host(short) == ""


def cut_twice(site: Kept, fresh: Repository) -> int:
    """Cut a recovery on the control side while it provisions, and its driver once the first source is proven."""
    mark = site.repo.root / "backups/box.recovery.json"
    first = site.repo.start("recover", "--host", "box", "--to", "replacement")
    # It is there once the snapshot is open: the provision has begun.
    deadline = time.monotonic() + 120
    while not mark.exists():
        assert time.monotonic() < deadline, first.poll()
        time.sleep(0.05)
    time.sleep(2)
    first.kill()
    first.communicate()
    watch = f"""
until [ -s {STATE}/recovery.json ]; do sleep 0.1; done
kill -9 "$(sed -n 's/.*"pid": \\([0-9]*\\).*/\\1/p' /run/toolkit/taskflow/driver.json)"
"""
    words = fresh.lab.ssh_command(fresh.vps, "sudo", "sh", "-s")
    watcher = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert watcher.stdin is not None
    watcher.stdin.write(watch)
    watcher.stdin.close()
    second = site.repo.invoke("recover", "--host", "box", "--to", "replacement")
    watcher.wait(timeout=60)
    assert second.code == 12, second
    assert "cut off" in second.err
    proven = json.loads(fresh.on_host(f"cat {STATE}/recovery.json"))["done"]
    assert "volume/files" in proven
    assert "postgres/db" not in proven
    return 2


def test_a_host_that_is_lost_at_any_moment_comes_back_on_a_bare_one_by_its_runbook(site: Kept, lab: Lab) -> None:
    for moment in range(MOMENTS):
        dice = random.Random(f"{SEED} {moment}")
        # Sequences stand outside of snapshots (pg_dump says where they are, not where they were): after a recovery ids
        # go on behind what was lost, so each moment counts its own from 1.
        site.rows("TRUNCATE tasks RESTART IDENTITY")
        with Writer(site) as writer:
            # However slow the machine is: there is something to lose.
            deadline = time.monotonic() + 120
            while len(writer.made) <= 10:
                assert time.monotonic() < deadline, writer.made
                time.sleep(0.05)
            time.sleep(dice.uniform(0, 2))
            before = len(writer.made)
            files = set(site.repo.on_host("ls /var/lib/docker/volumes/taskflow_files/_data").split())
            site.save()
            time.sleep(dice.uniform(0, 4))
            lost = site.repo.vps.name
            subprocess.run(["docker", "kill", site.repo.vps.container], check=True, capture_output=True)
        lab.remove(lost)
        fresh = site.replacement(f"fresh{moment}")
        cuts = 0 if moment else cut_twice(site, fresh)
        said = [run(site, block, CODES[kind]) for kind, block in blocks(site, 3)]
        assert ("in 3 attempts" in said[1]) == bool(cuts)
        site.adopt(fresh)
        check_all_is_there(site, before, files)
        for kind, block in blocks(site, 4):
            run(site, block, CODES[kind])
        page = site.repo.done("runbook", "--host", "box").out
        assert "a recovery on" in page
    assert "| data |" in page
    plan, lost, written, after = documented("recover.md")
    assert lines_of([plan, lost]) == lines_of(blocks(site, 3))
    assert after == blocks(site, 4)[0]
    run(site, written[1], 0)
    assert (site.repo.root / "runbook.md").read_text().rstrip("\n") == page.rstrip("\n")


@FAULT
def test_the_runbook_opens_everything_without_the_toolkit(site: Kept) -> None:
    from toolkit.config.load import load
    from toolkit.vault.identity import Keyring
    from toolkit.workflows.backups import Backups

    owner = Backups.of(load(site.repo.root / "hosts/box.yml"), Keyring({**os.environ, **site.repo.env})).owner
    for info in owner.list():
        path = site.repo.root / "copy" / info.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(owner.get(info.key))
    for kind, block in blocks(site, 5):
        if kind == "sh copy":
            run(site, block, CODES[kind])
    recovered = site.repo.root / "recovered"
    assert (recovered / "postgres/db/databases/taskflow.dump").read_bytes().startswith(b"PGDMP")
    assert (recovered / "stack/release/release.json").is_file()
    for path in (recovered / "volume/files").glob("[0-9]*"):
        assert path.read_text().startswith(f"file {path.name}\n")
    assert (recovered / "volume/files/10").is_file()
