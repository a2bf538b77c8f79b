"""A backup's run on its host: however it goes, it is written down, told, measured, and the next one goes on."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.repository_setup import OPERATOR, RECIPIENTS
from toolkit.agent import audit
from toolkit.agent.__main__ import main
from toolkit.agent.backup import access, gather, metrics, record, run, stale, steer, tell
from toolkit.agent.backup.desk import Desk
from toolkit.agent.backup.odd import odd
from toolkit.agent.backup.record import CUT_OFF, Run
from toolkit.agent.notify import outbox, targets
from toolkit.agent.paths import Paths
from toolkit.crypto.signing import VerifyKey
from toolkit.repository import Pin, Repository
from toolkit.repository.browse import entries
from toolkit.sources.docker import Docker
from toolkit.stack.duty import Duty, Odd, Pausing, Tree
from toolkit.stack.manifest import Manifest, Terms
from toolkit.store import Credentials, open_store
from toolkit.vault.access import pack
from toolkit.words.errors import HostError, Locked, SecretError, StoreError
from toolkit.words.values import Secret

ROOT = Path(__file__).parents[2]
ADDRESS = "http://127.0.0.1:1/ping-canary"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A host without Docker whose backups go to a directory, with one tree in it and one who is told."""
    found = Paths(tmp_path)
    (tmp_path / "srv/files").mkdir(parents=True)
    (tmp_path / "srv/files/greeting").write_text("hello")
    told = {"host": "prod", "targets": [{"name": "ops", "kind": "webhook", "on": ["backup"], "url": "x"}]}
    targets.put(found, json.dumps(told).encode())
    access.put(found, pack({"ping": Secret.of(ADDRESS)}))
    give(found)
    return found


def give(paths: Paths, /, **changes: Any) -> Duty:
    """Give the host its duty."""
    (paths.root / "store").mkdir(exist_ok=True)
    trees = (Tree("/srv/files", "files"),)
    given = replace(Duty(host="prod", url=f"file://{paths.root}/store", recipients=RECIPIENTS, paths=trees), **changes)
    paths.duty.parent.mkdir(parents=True, exist_ok=True)
    paths.duty.write_text(given.dumps())
    assert Duty.read(paths.duty) == given
    return given


def kinds(paths: Paths) -> list[str]:
    return [str((one.message() or {})["kind"]) for one in outbox.waiting(paths)]


def reader(paths: Paths) -> Repository:
    key = VerifyKey.parse((paths.backup / "signing.pub").read_text())
    return Repository(open_store(f"file://{paths.root}/store"), "prod", (OPERATOR,), Pin(key, RECIPIENTS))


def test_a_duty_of_another_toolkit_or_none_is_told_with_the_way_out(paths: Paths) -> None:
    paths.duty.write_text('{"format": "toolkit backup 9"}')
    with pytest.raises(HostError, match="not what this agent understands") as caught:
        run.run(paths)
    assert caught.value.hint == "provision again"
    paths.duty.unlink()
    with pytest.raises(HostError, match="nobody said what to back up"):
        run.run(paths)
    assert main(["--root", str(paths.root), "backup", "run"]) == 12


def test_a_duty_keeps_everything_on_its_way(paths: Paths) -> None:
    give(
        paths, stack="shop", lock=86400.0, sources=({"kind": "redis", "exclude": ["a"]},), leave=("a/b",),
        pause=Pausing(("w",), "stop", "read", 5.0), bandwidth=1000, odd=Odd(1, 2), every=3600.0,
    )  # fmt: skip


def test_a_run_leaves_a_snapshot_a_record_metrics_and_an_audit_line(paths: Paths) -> None:
    assert main(["--root", str(paths.root), "backup", "run", "--who", "ann@laptop"]) == 0
    [done] = record.read(paths)
    assert (done.result, done.who, done.code) == ("complete", "ann@laptop", 0)
    assert done.sources["files"]["bytes"] == 5
    assert [entry.path for entry in entries(reader(paths).newest(), "files")] == ["files", "files/greeting"]
    [line] = audit.read(paths, 9)
    assert (line["verb"], line["who"], line["result"], line["snapshot"]) == (
        "backup",
        "ann@laptop",
        "complete",
        done.snapshot,
    )
    text = (paths.metrics / "backup.prom").read_text()
    assert f"toolkit_backup_last_success_timestamp_seconds {done.ended:.15g}\n" in text
    assert 'toolkit_backup_last_result{result="complete"} 1\n' in text
    assert "toolkit_backup_lock_since_timestamp_seconds 0\n" in text
    assert kinds(paths) == []
    assert not Desk(paths).read_mark()


def test_what_cannot_be_read_makes_it_incomplete_and_the_first_whole_one_is_told_too(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    give(paths, paths=(Tree("/srv/files", "files"), Tree("/srv/gone", "gone")))
    assert main(["--root", str(paths.root), "backup", "run"]) == 3
    assert "incomplete: " in capsys.readouterr().out
    [done] = record.read(paths)
    assert done.unread == (("gone", "No such file or directory"),)
    give(paths)
    for _ in range(2):
        assert main(["--root", str(paths.root), "backup", "run"]) == 0
    assert kinds(paths) == ["backup.incomplete", "backup.recovered"]


def test_a_stack_that_cannot_be_looked_at_is_incomplete_and_the_rest_is_stored(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    give(paths, stack="shop")
    (paths.root / "opt/shop/releases/r1").mkdir(parents=True)
    (paths.root / "opt/shop/current").symlink_to("releases/r1")
    done = run.run(paths)
    assert done is not None
    assert done.result == "incomplete"
    assert [path for path, _ in done.unread] == ["stack/lost/data", "stack/lost/release"]
    assert done.sources["files"]["bytes"] == 5


class NoDocker(Docker):
    def containers(self, project: str) -> list[Any]:
        return []


def release(paths: Paths, **changes: Any) -> Manifest:
    """Deploy a release without running anything."""
    content = {"/opt/shop/files/d1/nginx.conf": "x", "/opt/shop/releases/r1/0-compose.yaml": "x"}
    made = Manifest(
        id="r1", created="2026-01-01T00:00:00Z", inputs="", services={}, digests={}, terms=Terms(files=()),
        secrets={"db": "aa", "_env": "bb"}, content=content, **changes,
    )  # fmt: skip
    folder = paths.root / "opt/shop"
    for name in ("releases/r1", "releases/r0", "files/d1", "files/d0"):
        (folder / name).mkdir(parents=True)
    (folder / "releases/r1/release.json").write_bytes(made.dumps())
    (folder / "files/d1/nginx.conf").write_text("server {}")
    (folder / "files/d0/nginx.conf").write_text("an older one")
    (folder / "current").symlink_to("releases/r1")
    secrets = paths.memory / "shop"
    secrets.mkdir(parents=True)
    for name in ("db-aa", "_env-bb", "db-older"):
        (secrets / name).write_text(f"value of {name}")
    return made


def test_the_release_its_files_and_its_secrets_come_along_and_nobody_elses(paths: Paths) -> None:
    duty, made = give(paths, stack="shop"), release(paths)
    found = gather.gather(paths, duty, NoDocker())
    trees = {one.name: one for one in found.inputs if hasattr(one, "exclude")}
    assert set(trees) == {"files", gather.RELEASE, gather.FILES, gather.SECRETS}
    assert trees[gather.FILES].exclude == ("d0",)
    assert trees[gather.SECRETS].exclude == ("db-older",)
    assert (found.facts["stack"], found.facts["release"], found.facts["manifest"]["id"]) == ("shop", "r1", made.id)
    # The release is current and nothing of it runs: that is no stack without data.
    assert [one.name for one in found.inputs if one.name.startswith(gather.LOST)] == ["stack/lost/data"]


def test_secrets_that_are_not_in_memory_make_it_incomplete(paths: Paths) -> None:
    duty, _ = give(paths, stack="shop"), release(paths)
    (paths.memory / "shop/db-aa").unlink()
    found = gather.gather(paths, duty, NoDocker())
    assert "stack/lost/secrets" in [one.name for one in found.inputs]
    assert gather.SECRETS in [one.name for one in found.inputs]


def test_a_stack_that_was_never_deployed_lacks_nothing(paths: Paths) -> None:
    found = gather.gather(paths, give(paths, stack="shop"), NoDocker())
    assert [one.name for one in found.inputs] == ["files"]
    assert found.facts["left"] == [["shop", "nothing of it was deployed yet"]]


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"url": "s3://acme?endpoint=http://127.0.0.1:1"}, 11, "no access"),
        ({"recipients": RECIPIENTS[:1]}, 10, "two recipients"),
        ({"recipients": (*RECIPIENTS[:1], "age1nobody")}, 11, ""),
    ],
)
def test_a_failure_is_written_down_and_told_with_its_own_exit_code(
    paths: Paths, change: dict[str, Any], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (paths.backup / "access.age").unlink()
    give(paths, **change)
    assert main(["--root", str(paths.root), "backup", "run"]) == code
    assert said in capsys.readouterr().err
    [done] = record.read(paths)
    assert (done.result, done.code) == ("failed", code)
    assert done.hint
    assert kinds(paths) == ["backup.failed"]
    assert "toolkit_backup_last_success_timestamp_seconds 0\n" in (paths.metrics / "backup.prom").read_text()


def test_whatever_breaks_is_told(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(gather, "gather", broken)
    done = run.run(paths)
    assert done is not None
    assert (done.result, done.code) == ("failed", 1)
    assert "RuntimeError: nobody foresaw this" in done.said
    monkeypatch.setattr(gather, "gather", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left", "/var/x")))
    done = run.run(paths)
    assert done is not None
    assert (done.code, done.said) == (12, "/var/x: No space left")


def test_a_full_disk_costs_the_lines_and_not_the_backup(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    for module in (record, metrics):
        monkeypatch.setattr(module.atomic, "replace", full)
    record.add(paths, made())
    metrics.write(paths, give(paths), [made()])
    assert record.read(paths) == []


def test_two_never_run_at_once_and_the_second_is_told_who_does(paths: Paths) -> None:
    desk = Desk(paths)
    with desk.held():
        desk.begin("the schedule", "j1")
        assert desk.busy()
        with pytest.raises(Locked, match="the schedule is backing this host up since") as caught:
            run.run(paths, who="ann@laptop")
        assert caught.value.exit_code == 24
        with pytest.raises(Locked):
            steer.start(paths, "ann@laptop")
        # One that is alive is not written off.
        run.settle(paths)
    assert record.read(paths) == []


def test_one_that_was_cut_off_is_written_down_once_and_told(paths: Paths) -> None:
    Desk(paths).begin("the schedule", "j1")
    run.settle(paths)
    run.settle(paths)
    [cut] = record.read(paths)
    assert (cut.result, cut.who, cut.code) == (CUT_OFF, "the schedule", 1)
    assert kinds(paths) == ["backup.failed"]
    done = run.run(paths)
    assert done is not None and done.good
    assert kinds(paths) == ["backup.failed", "backup.recovered"]


def test_a_newest_backup_that_is_too_old_is_told_once_and_so_is_the_next_one(paths: Paths) -> None:
    give(paths, stale=3600.0)
    done = run.run(paths)
    assert done is not None
    assert stale.check(paths, done.at + 3600) == ""
    told = stale.check(paths, done.at + 7200)
    assert told == "the newest complete backup is 2 h old, and 1 h are allowed"
    assert stale.check(paths, done.at + 9000).startswith("the newest complete backup is 2")
    assert kinds(paths) == ["backup.stale"]
    run.run(paths)
    assert kinds(paths) == ["backup.stale", "backup.recovered"]
    run.run(paths)
    assert kinds(paths) == ["backup.stale", "backup.recovered"]


def test_a_host_that_was_never_backed_up_is_too_old_from_when_it_was_asked_for(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    give(paths, stale=3600.0)
    assert main(["--root", str(paths.root), "backup", "check"]) == 0
    os.utime(paths.duty, (1000, 1000))
    record.add(paths, made(result="failed", said="the store is away"))
    assert main(["--root", str(paths.root), "backup", "check"]) != 0
    assert "there is no complete backup yet, and it was asked for " in capsys.readouterr().err
    assert kinds(paths) == ["backup.stale"]
    [waiting] = outbox.waiting(paths)
    assert "the last run failed: the store is away" in (waiting.message() or {})["text"]
    assert audit.read(paths, 9)[-1]["result"] == "stale"


def test_a_full_disk_does_not_hide_that_backups_are_too_old(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    give(paths, stale=3600.0)
    done = run.run(paths)
    assert done is not None

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stale.atomic, "replace", full)
    assert stale.check(paths, done.at + 7200).startswith("the newest complete backup is 2 h old")


def test_where_nobody_says_how_old_one_may_be_none_is_too_old(paths: Paths) -> None:
    give(paths)
    assert stale.check(paths, 10**12) == ""


def test_after_a_boot_what_was_cut_off_or_missed_is_begun_at_once(paths: Paths) -> None:
    duty = give(paths, every=86400.0)
    assert not run.due(duty, [], 0.0)
    assert run.due(duty, [made(result=CUT_OFF)], 1001.0)
    assert not run.due(duty, [made()], 1000.0 + 86000)
    assert run.due(duty, [made()], 1000.0 + 87000)
    assert not run.due(give(paths, every=0.0), [made()], 10**9)


def test_a_mark_that_nobody_settled_is_written_down_by_the_next_run(paths: Paths) -> None:
    Desk(paths).begin("ann@laptop", "j1")
    run.run(paths)
    assert [one.result for one in record.read(paths)] == [CUT_OFF, "complete"]


PROGRAM = """
import sys, time
from pathlib import Path
from toolkit.agent.backup import gather, run
from toolkit.agent.paths import Paths
from toolkit.sources.barrier import failed
def slow(*_):
    print("working", flush=True)
    time.sleep(60)
gather.gather = slow
done = run.run(Paths(Path(sys.argv[1])))
print("ended", done.result if done else None, flush=True)
"""


@pytest.mark.parametrize(
    ("number", "results", "says"),
    [
        (signal.SIGUSR1, ["stopped"], "ended stopped"),
        (signal.SIGTERM, ["cut off"], "ended None"),
        (signal.SIGKILL, ["cut off"], ""),
    ],
)
def test_whoever_ends_it_the_next_run_goes_on(paths: Paths, number: int, results: list[str], says: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(paths.root)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "working\n"
    os.kill(child.pid, number)
    assert child.stdout.read().strip() == says
    child.wait()
    run.settle(paths)
    assert [one.result for one in record.read(paths)] == results
    assert not Desk(paths).busy()
    done = run.run(paths)
    assert done is not None and done.good


def test_a_run_is_started_and_followed_by_its_journal(paths: Paths) -> None:
    name = steer.start(paths, "ann@laptop")
    heard: list[dict[str, Any]] = []

    class Out:
        def write(self, line: bytes) -> None:
            heard.append(json.loads(line))

        def flush(self) -> None: ...

    steer.follow(paths, name, Out())  # type: ignore[arg-type]
    assert heard[0]["kind"] == "begin"
    assert heard[0]["who"] == "ann@laptop"
    assert heard[-1]["run"]["result"] == "complete"
    assert [one["text"] for one in heard if one["kind"] == "step"][-1] == "back up prod"
    told = steer.state(paths, 5)
    assert (told["working"], told["runs"][-1]["result"]) == (None, "complete")
    with pytest.raises(HostError, match="no such backup"):
        steer.follow(paths, "another", Out())  # type: ignore[arg-type]
    with pytest.raises(HostError, match="nobody is backing"):
        steer.stop(paths)


def test_what_is_listed_in_the_backup_file_is_shown_without_docker(paths: Paths) -> None:
    found = steer.sources(paths)
    assert [(one["name"], one["path"]) for one in found["sources"]] == [("files", "/srv/files")]


def test_access_is_sealed_and_opens_in_memory_only(paths: Paths) -> None:
    given = {"access_key": Secret.of("AKIA"), "secret_key": Secret.of("secret-canary"), "ping": Secret.of(ADDRESS)}
    access.put(paths, pack(given))
    found = access.read(paths)
    assert (found.access_key, found.secret_key, found.ping) == ("AKIA", given["secret_key"], given["ping"])
    assert found.session_token is None
    for path in paths.root.rglob("*"):
        if path.is_file():
            assert b"canary" not in path.read_bytes()
    paths.identity.unlink()
    with pytest.raises(SecretError):
        access.read(paths)
    with pytest.raises(HostError, match="does not understand") as caught:
        access.put(paths, b"secret-canary")
    assert "canary" not in str(caught.value.__cause__)


def made(**changes: Any) -> Run:
    base = Run(
        at=1000.0, ended=1060.0, who="ann", result="complete", code=0, snapshot="s-1", bytes=100 << 20, entries=1000,
        sources={"postgres/db": {"bytes": 50 << 20, "entries": 3, "rows": 10_000}},
    )  # fmt: skip
    return replace(base, **changes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ()),
        ({"bytes": 140 << 20, "entries": 1400}, ()),
        ({"bytes": 20 << 20}, ("20 MiB were read, 80 % less than usual (100 MiB)",)),
        ({"bytes": 300 << 20}, ("300 MiB were read, 200 % more than usual (100 MiB)",)),
        ({"entries": 10}, ("10 files and dumps, 99 % less than usual (1000)",)),
        ({"sources": {}}, ("postgres/db is not there any more",)),
        (
            {"sources": {"postgres/db": {"bytes": 50 << 20, "entries": 3, "rows": 12}}},
            ("postgres/db: 12 rows, 100 % less than usual (10000)",),
        ),
        (
            {
                "sources": {
                    "postgres/db": made().sources["postgres/db"],
                    "redis/q": {"bytes": 1, "entries": 1, "rows": 1},
                }
            },
            (),
        ),
    ],
)
def test_what_is_not_like_the_ones_before_is_told(change: dict[str, Any], said: tuple[str, ...]) -> None:
    assert odd(made(**change), [made()] * 3, Odd(50, 50)) == said


def test_little_is_never_odd_and_neither_is_anything_before_there_are_enough() -> None:
    small = made(bytes=1000, entries=3, sources={})
    assert odd(made(bytes=900_000, entries=20, sources={}), [small] * 3, Odd(50, 50)) == ()
    assert odd(made(bytes=1), [made()] * 2, Odd(50, 50)) == ()
    assert odd(made(bytes=1), [made(result="incomplete")] * 9, Odd(50, 50)) == ()
    assert odd(made(bytes=1), [made()] * 9, None) == ()


def test_an_emptied_tree_is_told_by_the_run_itself(paths: Paths) -> None:
    give(paths, odd=Odd(50, 50))
    for number in range(100):
        (paths.root / f"srv/files/{number}").write_text("x")
    for _ in range(3):
        run.run(paths)
    for number in range(100):
        (paths.root / f"srv/files/{number}").unlink()
    done = run.run(paths)
    assert done is not None and done.good
    assert kinds(paths) == ["backup.anomaly"]
    assert "files and dumps" in done.odd[0]


def test_people_are_told_of_what_they_can_act_on() -> None:
    duty = Duty(host="prod", url="", recipients=(), stack="shop")
    good, failed = made(), made(result="failed", snapshot="", said="the store is away", hint="wait")
    assert tell.events(duty, good, None) == []
    assert tell.events(duty, good, made(result="stopped")) == []
    [event] = tell.events(duty, failed, good)
    assert (event.kind, event.severity, event.subject, event.text) == (
        "backup.failed", "error", "shop", "the store is away\nwait",
    )  # fmt: skip
    assert [one.kind for one in tell.events(duty, good, failed)] == ["backup.recovered"]
    assert [one.kind for one in tell.events(duty, made(odd=("less",)), failed)] == [
        "backup.recovered",
        "backup.anomaly",
    ]
    assert tell.events(duty, made(result="stopped"), good) == []


class Watcher(BaseHTTPRequestHandler):
    heard: list[tuple[str, str]] = []  # noqa: RUF012 - the test's own list

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.heard.append((self.path, body))
        self.send_response(404 if "refused" in self.path else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def watcher() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Watcher)
    Watcher.heard.clear()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/canary"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_watcher_hears_of_start_success_and_failure(paths: Paths, watcher: str) -> None:
    access.put(paths, pack({"ping": Secret.of(watcher)}))
    run.run(paths)
    give(paths, recipients=RECIPIENTS[:1])
    run.run(paths)
    assert [path for path, _ in Watcher.heard] == ["/canary/start", "/canary", "/canary/start", "/canary/fail"]
    assert Watcher.heard[1][1].startswith("complete: ")
    assert Watcher.heard[3][1].startswith("failed: backups need two recipients")


@pytest.mark.parametrize("address", [ADDRESS, "file:///etc/passwd#canary", "ping-canary"])
def test_a_ping_that_nobody_takes_harms_nothing_and_shows_no_address(
    paths: Paths, address: str, capfd: pytest.CaptureFixture[str]
) -> None:
    access.put(paths, pack({"ping": Secret.of(address)}))
    done = run.run(paths)
    assert done is not None and done.good
    complaint = tell.ping(Secret.of(address))
    assert complaint
    shown = complaint + "".join(capfd.readouterr()) + (paths.audit).read_text()
    assert "canary" not in shown


def test_a_watcher_that_refuses_is_said(watcher: str) -> None:
    assert tell.ping(Secret.of(f"{watcher}/refused")) == "whoever is pinged answers 404"


def test_metrics_are_what_a_scraper_reads(paths: Paths) -> None:
    kept = made(sources={'we"ird\\': {"bytes": 1, "entries": 1, "rows": 0}}, unread=(("a", "b"),), result="incomplete")
    text = metrics.text(give(paths, every=86400.0), [made(), kept, made(result="failed", snapshot="", code=20)], 5000.0)
    for line in (
        "toolkit_backup_lock_since_timestamp_seconds 5000",
        "toolkit_backup_period_seconds 86400",
        "toolkit_backup_last_success_timestamp_seconds 1060",
        'toolkit_backup_last_result{result="failed"} 1',
        'toolkit_backup_last_result{result="complete"} 0',
        "toolkit_backup_last_exit_code 20",
        "toolkit_backup_incomplete 1",
        "toolkit_backup_unread 1",
        'toolkit_backup_source_bytes{source="we\\"ird\\\\"} 1',
    ):
        assert f"{line}\n" in text
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))


def test_a_record_is_bounded_and_passes_over_what_is_damaged(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "KEEP", 5)
    for number in range(9):
        record.add(paths, made(sequence=number))
    with (paths.backup / "runs.jsonl").open("a") as lines:
        lines.write('{"at": 1}\nnot json\n')
    assert [one.sequence for one in record.read(paths, 100)] == [4, 5, 6, 7, 8]


def test_a_deploy_at_work_is_waited_for(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit.stack.place import Place
    from toolkit.words.clock import FakeClock
    from toolkit.words.report import Silent

    place = Place("shop", paths.root)
    duty = give(paths, stack="shop")
    clock = FakeClock()
    working = run._Run(paths, duty, Silent(), "ann", 0.0, clock, NoDocker())
    # Each look at the lock is a real one, and takes its time.
    monkeypatch.setattr(run, "DEPLOY_WITHIN", 20.0)
    with place.locked():
        # `flock` is of an open file: this very process is refused as any other.
        working._after_deploy()
    assert clock.time == run.DEPLOY_WITHIN
    working._after_deploy()
    assert clock.time == run.DEPLOY_WITHIN


def test_wrong_credentials_name_no_key(paths: Paths) -> None:
    give(paths, url="s3://acme?endpoint=http://127.0.0.1:1")
    reach = Credentials("AKIA-canary", Secret.of("secret-canary"))
    assert "canary" not in repr(reach.secret_key)
    store = run.store_of(Duty.read(paths.duty), access.Access("AKIA-canary", Secret.of("secret-canary")))
    with pytest.raises(StoreError) as caught:
        list(store.list("x"))
    assert "canary" not in caught.value.message + caught.value.hint
