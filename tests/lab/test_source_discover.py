"""A whole stack: discovered by what runs, held at one barrier, and brought back source by source."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.source_boxes import DOCKER, Boxes, Vault, boxes, until, within
from toolkit.lab import Lab
from toolkit.repository import restore
from toolkit.repository.restore import How
from toolkit.sources.barrier import barrier
from toolkit.sources.discover import discover
from toolkit.sources.paths import mountpoint
from toolkit.sources.protocol import Place
from toolkit.sources.refill import Refill, layout
from toolkit.sources.stored import FromSnapshot, facts_of
from toolkit.words.errors import HostError

pytestmark = pytest.mark.lab

PROJECT = "sourcestest"


def service(name: str, *more: str) -> tuple[str, ...]:
    labels = (f"com.docker.compose.project={PROJECT}", f"com.docker.compose.service={name}")
    return (*(word for label in labels for word in ("--label", label)), *more)


@pytest.fixture(scope="module")
def made(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    with boxes(lab, tmp_path_factory.mktemp("stack")) as found:
        yield found


@pytest.fixture(scope="module")
def stack(made: Boxes) -> dict[str, str]:
    env = ("--env", "POSTGRES_USER=shop", "--env", "POSTGRES_PASSWORD_FILE=/run/secrets/password", *made.secret())
    db = made.start("postgres", options=service("db", *env), mount="/var/lib/postgresql/data")
    made.start("redis", "redis-server", "--save", "", options=service("cache"), mount="/data")
    queue = made.start("redis", "redis-server", "--appendonly", "yes", options=service("queue"), mount="/data")
    files = made.volume()
    options = service("app", "--volume", "/scratch")
    app = made.start("base", "sleep", "600", options=options, mount="/srv/files", volume=files)
    root = mountpoint(DOCKER, files)
    (root / "pictures").mkdir()
    (root / "pictures/one.jpg").write_bytes(bytes(5000))
    with closing(sqlite3.connect(root / "app.db")) as database:
        database.execute("CREATE TABLE t AS SELECT value FROM json_each('[1, 2, 3]')")
        database.commit()
    until(lambda: within(db, "pg_isready", "-q", "-h", "127.0.0.1") == "")
    until(lambda: within(queue, "redis-cli", "RPUSH", "jobs", "1"))
    return {"db": db, "queue": queue, "app": app, "files": files}


def test_a_stack_is_discovered_held_and_brought_back(made: Boxes, stack: dict[str, str], tmp_path: Path) -> None:
    found = discover(DOCKER, PROJECT)
    names = [one.source.name for one in found.found]
    files = f"volume/{stack['files']}"
    assert names == ["postgres/db", "redis/queue", files, f"sqlite/{stack['files']}.app.db"]
    assert "redis/cache" in dict(found.left)
    assert [warning.partition(" in a volume")[0] for warning in found.warnings] == ["app writes to /scratch"]
    before = time.time()
    with barrier(DOCKER, PROJECT, found.found, notes=tmp_path / "notes") as held:
        report = Vault(tmp_path).save(held.inputs, facts={"barrier": held.facts})
    assert (report.outcome, report.unread) == ("complete", ())
    snapshot = Vault(tmp_path).newest()
    facts = snapshot.manifest.facts["barrier"]
    assert 0 < facts["skew_seconds"] <= time.time() - before
    restore(snapshot, tmp_path / "out", How(below=files))
    # The database came as a copy of one moment, so the walk left the file alone.
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["pictures"]
    fresh = made.volume()
    for one in found.found:
        if one.source.kind in ("volume", "sqlite"):
            one.source.load(DOCKER, FromSnapshot(snapshot, one.source.name), Place(volume=fresh))
    for one in found.found:
        if one.source.kind == "sqlite":
            known = facts_of(snapshot.manifest.sources, one.source.name)
            assert one.source.probe(DOCKER, Place(volume=fresh), known).good
    assert (mountpoint(DOCKER, fresh) / "pictures/one.jpg").stat().st_size == 5000


class Beside:
    """Starts the stack's databases once more, on volumes of their own."""

    def __init__(self, made: Boxes, volumes: dict[str, str]) -> None:
        self.made, self.volumes = made, volumes
        self.order: list[str] = []

    def start(self, service: str) -> str:
        self.order.append(f"start {service}")
        volume = self.volumes[service]
        if service == "queue":
            return self.made.start("redis", "redis-server", "--appendonly", "yes", mount="/data", volume=volume)
        env = ("--env", "POSTGRES_USER=shop", "--env", "POSTGRES_PASSWORD_FILE=/run/secrets/password")
        return self.made.start(
            "postgres", options=(*env, *self.made.secret()), mount="/var/lib/postgresql/data", volume=volume
        )

    def stop(self, service: str) -> None:
        self.order.append(f"stop {service}")


def test_a_whole_stack_is_refilled_beside_itself_in_order_and_proven(
    made: Boxes, stack: dict[str, str], tmp_path: Path
) -> None:
    within(stack["db"], "psql", "-U", "shop", "-c", "CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id")
    with barrier(DOCKER, PROJECT, discover(DOCKER, PROJECT).found, notes=tmp_path / "notes") as held:
        Vault(tmp_path).save(held.inputs)
    snapshot = Vault(tmp_path).newest()
    plan = layout(snapshot, DOCKER.containers(PROJECT))
    kinds = [part.source.kind for part in plan.parts]
    assert kinds == ["volume", "sqlite", "redis", "postgres"]
    assert plan.unplaced == ()
    fresh = {volume: made.volume() for part in plan.parts for volume in part.volumes}
    beside = Beside(made, {part.service: fresh[part.volumes[0]] for part in plan.parts if part.service})
    before = within(stack["db"], "psql", "-U", "shop", "-Atc", "SELECT count(*) FROM orders")
    done = list(Refill(DOCKER, snapshot, beside, fresh).run(plan.parts))
    assert beside.order == ["start queue", "stop queue", "start db", "stop db"]
    assert [(one.kind, one.good) for one in done] == [(kind, True) for kind in kinds], done
    assert 1000 in done[-1].probe.counts.values(), done[-1].probe.counts
    assert all(one.load_seconds > 0 for one in done)
    # What is in use was not touched.
    assert within(stack["db"], "psql", "-U", "shop", "-Atc", "SELECT count(*) FROM orders") == before
    assert [part.name for part in layout(snapshot, DOCKER.containers(PROJECT), only=("postgres/db",)).parts] == [
        "postgres/db"
    ]
    gone = layout(snapshot, [one for one in DOCKER.containers(PROJECT) if one["Config"]["Cmd"] != ["sleep", "600"]])
    assert {name.partition("/")[0] for name, _ in gone.unplaced} == {"volume", "sqlite"}


def test_a_stack_that_is_not_there_is_an_error() -> None:
    with pytest.raises(HostError, match="no container of nosuchstack"):
        discover(DOCKER, "nosuchstack")
