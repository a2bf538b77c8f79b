"""The four example stacks, each on a lab host under its own backup policy; what they hold is counted past the toolkit.

A stack is given work through its own door, and then more of it while its workers are stopped: so there are rows and
files of what is done, and jobs of what is not, when it is backed up.
"""

import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.kept import Kept
from tests.steps import ROOT, Repository, repository
from toolkit.lab import Lab, backupfile
from toolkit.lab.hosts import Vps
from toolkit.lab.images import publish
from toolkit.lab.services import S3

VARIABLES = {"viraclip": {"DEMO_FAULTS": "true"}}
"""What a test of an example wants beside its host file."""

# Stacks whose Redis has a password have it in this file. `printf` is the shell's own: it shows in no argument.
_REDIS = """
docker exec -i {container} sh -c '
  file=/run/secrets/redis_password
  {{ [ ! -e $file ] || printf "AUTH %s\\n" "$(cat $file)"; cat; }} | redis-cli | tail -n +{first}' <<'END'
{words}
END
"""
_CLICKHOUSE = """
docker exec -i {container} sh -c '
  clickhouse-client --database oneglanse --password "$(cat /run/secrets/clickhouse_password)"' <<'END'
{sql}
END
"""
_ASKS_CLICKHOUSE = "clickhouse:"
A_LONG_WALK = """
curl --fail --silent --show-error --max-time 20 http://127.0.0.1:8000/clips -d '{"title": "a long walk", "frames": 240}'
"""
# A clip under way is ended without being asked; where it was quicker than that, the next one is tried.
_HALF_A_CLIP = f"""
set -e
api="curl --fail --silent --show-error --max-time 20 http://127.0.0.1:8000"
for try in 1 2 3 4 5; do
  id=$({A_LONG_WALK.strip()} | grep -o '"id": [0-9]*' | cut -d ' ' -f 2)
  until [ "$($api/clips/$id | grep -o '"steps_done": [0-9]*' | cut -d ' ' -f 2)" -gt 3 ]; do sleep 0.05; done
  docker kill viraclip-worker-1 >/dev/null
  if $api/clips/$id | grep -q '"queued"'; then echo "$id"; exit; fi
  docker start viraclip-worker-1 >/dev/null
done
exit 1
"""


@dataclass(frozen=True)
class Holds:
    """Where a stack keeps what it was given. Queries are SQL of PostgreSQL, or of ClickHouse after `clickhouse:`."""

    database: str
    """The container of its PostgreSQL; user and database have the stack's name."""

    source: str
    kept: Mapping[str, str]
    """What has the same answer before and after: a count, and a hash of what was given."""

    done: Mapping[str, str]
    """What grows by one with each job, and with nothing else."""

    open: str
    queue: str
    """The container of its Redis."""

    queue_source: str
    jobs: str
    workers: str
    files: str = ""
    """A folder below Docker's volumes."""

    warnings: frozenset[str] = frozenset()
    """Rules that `lint` has warnings of, as the example's README says."""


STACKS = {
    "taskflow": Holds(
        database="taskflow-db-1",
        source="postgres/db",
        kept={"tasks": "SELECT count(*), md5(string_agg(id || title || created_at, ',' ORDER BY id)) FROM tasks"},
        done={"tasks": "SELECT count(result) FROM tasks"},
        open="SELECT count(*) FROM tasks WHERE status = 'queued'",
        queue="taskflow-cache-1",
        queue_source="redis/cache",
        jobs="taskflow:tasks",
        workers="taskflow-worker-1 taskflow-worker-2",
        warnings=frozenset({"port-on-all-addresses", "database-on-public-network"}),
    ),
    "relay": Holds(
        database="relay-postgres-1",
        source="postgres/postgres",
        kept={
            "messages": "SELECT count(*), md5(string_agg(id || recipient || subject, ',' ORDER BY id)) FROM messages",
            "migrations": "SELECT count(*) FROM migrations",
        },
        done={
            "messages": "SELECT count(sent_at) FROM messages",
            "deliveries": "SELECT count(*) FROM deliveries",
        },
        open="SELECT count(*) FROM messages WHERE status = 'queued'",
        queue="relay-redis-queue-1",
        queue_source="redis/redis-queue",
        jobs="relay:jobs",
        workers="relay-worker-1 relay-worker-2",
        # Caddy's authority and certificates: clients that trust it go on doing so.
        files="relay_caddy_data/_data/caddy/pki",
    ),
    "viraclip": Holds(
        database="viraclip-postgres-1",
        source="postgres/postgres",
        kept={"clips": "SELECT count(*), md5(string_agg(id || title || frames, ',' ORDER BY id)) FROM clips"},
        done={"clips": "SELECT count(file) FROM clips"},
        open="SELECT count(*) FROM clips WHERE status = 'queued'",
        queue="viraclip-redis-1",
        queue_source="redis/redis",
        jobs="viraclip:jobs",
        workers="viraclip-worker-1",
        files="viraclip_output/_data",
    ),
    "oneglanse": Holds(
        database="oneglanse-db",
        source="postgres/db",
        kept={
            "sites": "SELECT count(*), md5(string_agg(name || added_at, ',' ORDER BY name)) FROM sites",
            "runs": "SELECT count(*), md5(string_agg(id || site || created_at, ',' ORDER BY id)) FROM runs",
            "roles": "SELECT count(*) FROM pg_roles WHERE rolname = 'reader'",
            "views": "clickhouse:SELECT count(), sum(cityHash64(time, site, path)) FROM events WHERE kind = 'view'",
        },
        done={
            "runs": "SELECT count(file) FROM runs",
            "events of runs": "clickhouse:SELECT count() FROM events WHERE kind = 'run'",
        },
        open="SELECT count(*) FROM runs WHERE status = 'queued'",
        queue="oneglanse-redis",
        queue_source="redis/redis",
        jobs="oneglanse:runs",
        workers="oneglanse-agent-worker",
        files="oneglanse_agent_storage/_data",
        warnings=frozenset({"unpinned-image"}),
    ),
}


@dataclass(frozen=True)
class Held:
    """What a stack holds at one moment."""

    kept: Mapping[str, str]
    done: Mapping[str, int]
    open: int
    waiting: int
    files: Mapping[str, str]
    """Files and the hash of each, without what is half made."""


@dataclass
class Carried:
    """One example on a host of the lab, with a bucket and the example's own policy."""

    kept: Kept
    holds: Holds
    half: int = 0
    """A clip that was ended half-way."""

    steps: Mapping[str, str] = field(default_factory=dict)
    """What was done of it by then, and how often each of these steps had been begun."""

    @property
    def repo(self) -> Repository:
        return self.kept.repo

    @property
    def name(self) -> str:
        return self.repo.name

    def ask(self, query: str) -> str:
        """Return the answer of one of the stack's databases."""
        sql = query.removeprefix(_ASKS_CLICKHOUSE)
        if sql != query:
            return self.repo.on_host(_CLICKHOUSE.format(container="oneglanse-clickhouse", sql=sql)).strip()
        line = f"docker exec -i {self.holds.database} psql -U {self.name} -qtA {self.name}"
        return self.repo.on_host(f"{line} <<'END'\n{sql}\nEND").strip()

    def redis(self, words: str) -> list[str]:
        """Return what the stack's queue answers, line by line."""
        # Where there is a password, the first line is the answer to it.
        first = 1 if self.name == "relay" else 2
        return self.repo.on_host(_REDIS.format(container=self.holds.queue, words=words, first=first)).split("\n")[:-1]

    def work(self) -> None:
        """Give the stack something to do, as its README says."""
        self.repo.fed((self.repo.stack / "work.sh").read_text(), "ssh", "--host", "box", "--", "sh", "-s")

    def finished(self) -> None:
        """Wait until the stack has done everything that it was given, and put it out of its hands."""
        _soon(lambda: self.ask(self.holds.open) == "0" and self.redis(f"LLEN {self.holds.jobs}:taken") == ["0"])

    def healthy(self) -> None:
        """Wait until every service is, by `invoke status`: what the gate let through may be slow for a moment."""
        _soon(lambda: self.repo.invoke("status", "--host", "box").code == 0)

    def leave_work(self) -> None:
        """Stop the workers and give the stack more; one long job of viraclip is ended half-way."""
        # Nobody heals what is stopped on purpose.
        self.repo.done("hold", "--host", "box", "--reason", "work is to be left", "--for", "2h")
        if self.name == "viraclip":
            self.half = int(self.repo.on_host(_HALF_A_CLIP))
            done = {step for step, state in self._hash(f"viraclip:steps:{self.half}").items() if state == "done"}
            self.steps = {step: count for step, count in self.begun().items() if step in done}
        else:
            self.repo.on_host(f"docker stop --time 60 {self.holds.workers}")
        self.work()

    def begun(self) -> dict[str, str]:
        """Return how often each step of the clip was begun that was ended half-way."""
        return self._hash(f"viraclip:begun:{self.half}")

    def _hash(self, key: str) -> dict[str, str]:
        found = self.redis(f"HGETALL {key}")
        return dict(zip(found[::2], found[1::2], strict=True))

    def held(self) -> Held:
        """Count everything."""
        holds = self.holds
        return Held(
            kept={name: self.ask(query) for name, query in holds.kept.items()},
            done={name: int(self.ask(query)) for name, query in holds.done.items()},
            open=int(self.ask(holds.open)),
            waiting=int(self.redis(f"LLEN {holds.jobs}")[0]),
            files=self._files(),
        )

    def _files(self) -> dict[str, str]:
        if not self.holds.files:
            return {}
        folder = f"/var/lib/docker/volumes/{self.holds.files}"
        rows = self.repo.on_host(f"cd {folder} && find . -type f -not -path '*/.*/*' -exec sha256sum {{}} +")
        return {name: digest for digest, name in (row.split(maxsplit=1) for row in rows.splitlines())}

    def expect(self, held: Held) -> None:
        """Have drills find exactly this, beside what the policy asks for anyway."""
        holds, database = self.holds, {"database": self.name}
        asked = [
            *(
                {"source": holds.source, **database, "query": query, "equals": count}
                for query, count in self._counts(held)
            ),
            {"source": holds.queue_source, "query": f"LLEN {holds.jobs}", "equals": held.waiting},
        ]
        if self.half:
            steps = f"HLEN viraclip:steps:{self.half}"
            asked.append({"source": holds.queue_source, "query": steps, "equals": int(self.redis(steps)[0])})
        if views := held.kept.get("views"):
            sql = holds.kept["views"].removeprefix(_ASKS_CLICKHOUSE).replace("FROM events", "FROM oneglanse.events")
            asked.append({"source": "clickhouse/clickhouse", "query": sql, "equals": int(views.split()[0])})
        change(self.repo, lambda content: content["drill"]["queries"].extend(asked))

    def _counts(self, held: Held) -> Iterator[tuple[str, int]]:
        yield self.holds.open, held.open
        yield from (
            (query, held.done[name])
            for name, query in self.holds.done.items()
            if not query.startswith(_ASKS_CLICKHOUSE)
        )
        for name, query in self.holds.kept.items():
            if not query.startswith(_ASKS_CLICKHOUSE):
                yield query, int(held.kept[name].partition("|")[0])

    def lose(self) -> None:
        """Let the host end, and its disk with it."""
        vps = self.repo.vps
        subprocess.run(["docker", "kill", vps.container], check=True, capture_output=True)
        self.repo.lab.remove(vps.name)


def _soon(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(1)


def change(repo: Repository, change: Callable[[Any], object]) -> None:
    """Let a function change the backup file's content."""
    path = repo.root / "backups/box.yml"
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


@contextmanager
def carried(folder: Path, lab: Lab, s3: S3, name: str) -> Iterator[Carried]:
    """Have an example run on a fresh host, provisioned and deployed, until the end of the context."""
    example = ROOT / "examples" / name
    publish(lab, example)
    vps = lab.host(name, example=name, stocked=True)
    made = Carried(Kept(_repository(folder, lab, s3, vps), s3, folder), STACKS[name])
    made.repo.invoke("backup.init", "--host", "box", "--create", "--fix")
    try:
        made.repo.done("deploy", "--host", "box", "--provision")
        yield made
    finally:
        end(lab, name)


def end(lab: Lab, name: str) -> None:
    """Remove the hosts of one example, those that are there."""
    for host in (name, f"{name}-again"):
        if host in lab.home.state().hosts:
            lab.remove(host)


def _repository(folder: Path, lab: Lab, s3: S3, vps: Vps) -> Repository:
    repo = repository(folder / "repo", lab, vps, ROOT / "examples" / vps.name)
    repo.env.update(
        TOOLKIT_IDENTITY=str(lab.home.folder / backupfile.IDENTITY),
        TOOLKIT_DRILL_KEY=str(folder / "drill.key"),
        HOME=str(folder),
    )
    repo.change(lambda content: content["stack"]["variables"].update(VARIABLES.get(vps.name, {})))
    text = backupfile.text(lab.home, s3, f"{vps.name}-{secrets.token_hex(4)}", vps.name)
    (repo.root / "backups").mkdir()
    (repo.root / "backups/box.yml").write_text(text)
    # A backup that began by itself would be one too many.
    change(repo, lambda content: content.update(schedule=False))
    return repo
