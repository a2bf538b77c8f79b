"""Two lab hosts for the tests of drills: `box` runs taskflow and is backed up, `spare` has Docker and nothing else."""

import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.steps import ROOT, Repository, Said, repository
from toolkit.crypto import age
from toolkit.lab import Lab
from toolkit.lab.hosts import Vps
from toolkit.lab.images import publish
from toolkit.lab.services import S3

# A service that is no worker by its name, and does what workers do.
NOTIFIER = """
import socket, time, pathlib
pathlib.Path("/tmp/alive").touch()
while True:
    for host, port in (("192.0.2.7", 443), ("mail.example.com", 25), ("10.255.255.1", 22)):
        try:
            socket.create_connection((host, port), timeout=1)
            pathlib.Path("/tmp/REACHED").touch()
        except OSError:
            pass
    time.sleep(0.2)
"""
COMPOSE = {
    "services": {
        "notifier": {
            "image": "ghcr.io/acme/taskflow-worker:1.0.0",
            "command": ["python3", "-c", NOTIFIER.replace("$", "$$")],
            "networks": ["backend"],
            "restart": "unless-stopped",
            "container_name": "taskflow-notifier",
            "healthcheck": {"test": ["CMD", "test", "-e", "/tmp/alive"], "interval": "1s", "start_period": "3s"},
            "volumes": ["sent:/sent", "/etc/localtime:/etc/localtime:ro"],
        }
    },
    "volumes": {"sent": {}},
}
QUERIES = [
    {"source": "postgres/db", "database": "taskflow", "query": "SELECT count(*) FROM tasks", "at_least": 1},
    {"source": "postgres/db", "database": "taskflow", "query": "SELECT 'as it was'", "equals": "as it was"},
    {"source": "redis/cache", "query": "GET kept", "equals": "yes"},
]
USER = "arn:aws:iam:::user"
CANARY = {"source": "postgres/db", "database": "taskflow", "query": "SELECT max(created_at) FROM tasks"}


@dataclass
class Drilled:
    """One repository with both hosts, and the bucket behind them."""

    repo: Repository
    spare: Vps
    s3: S3
    escrow: Path

    def drill(self, *words: str) -> Said:
        return self.repo.invoke("drill", "--host", "box", *words)

    def report(self, *words: str, code: int = 0) -> dict[str, Any]:
        said = self.drill("--json", *words)
        assert said.code == code, said
        found: dict[str, Any] = said.data
        return found

    def change(self, **drill: Any) -> None:
        path = self.repo.root / "backups/box.yml"
        content = yaml.safe_load(path.read_text())
        content["drill"] = {**content["drill"], **drill}
        path.write_text(yaml.safe_dump(content))

    def on_spare(self, script: str) -> str:
        words = self.repo.lab.ssh_command(self.spare, "sudo", "sh", "-s")
        done = subprocess.run(words, input=script, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, (script, done.stdout, done.stderr)
        return done.stdout

    def sql(self, text: str) -> str:
        line = "docker exec -i taskflow-db-1 psql -U taskflow -qtA taskflow"
        return self.repo.on_host(f"{line} <<'END'\n{text}\nEND")

    def redis(self, words: str) -> str:
        password = "REDISCLI_AUTH=$(cat /run/secrets/redis_password)"
        return self.repo.on_host(f"docker exec taskflow-cache-1 sh -c '{password} redis-cli {words}'")

    def production(self) -> str:
        """All of production that a drill could change: containers as they run, names, files, and what databases say."""
        return (
            self.repo.on_host(
                """docker ps --all --no-trunc --format '{{.ID}} {{.Names}} {{.Status}}' | sed 's/ Up .*//' | sort
            docker inspect --format '{{.Id}} {{.State.StartedAt}} {{.RestartCount}}' $(docker ps -aq) | sort
            docker volume ls -q | sort; docker network ls -q | sort; ls -A /opt /run/secrets/taskflow
            cd /var/lib/docker/volumes && find taskflow_sent -type f -exec sha256sum {} + | sort"""
            )
            + self.sql("SELECT count(*), md5(string_agg(title, chr(10) ORDER BY id)) FROM tasks")
            + self.redis("DBSIZE")
        )


def drilled(folder: Path, lab: Lab, s3: S3) -> Drilled:
    """Publish taskflow, provision both hosts, deploy on the first, and back it up once."""
    publish(lab, ROOT / "examples/taskflow")
    # Debian 12, because its guests have limits of memory on every kind of machine.
    box, spare = (lab.host(name, "debian12", stocked=True) for name in ("drilled", "spare"))
    repo = repository(folder, lab, box)
    shutil.copy(lab.host_file(spare.name), folder / "hosts/spare.yml")
    (repo.stack / "compose.reach.yaml").write_text(yaml.safe_dump(COMPOSE))
    repo.change(
        lambda content: content["stack"].update(files=["compose.yaml", "compose.prod.yaml", "compose.reach.yaml"])
    )
    content = yaml.safe_load((folder / "hosts/spare.yml").read_text())
    (folder / "hosts/spare.yml").write_text(yaml.safe_dump({**content, "stack": None}))
    escrow = _identities(repo)
    repo.env.update(S3_USER=s3.operator[0], S3_SECRET=s3.operator[1].reveal().decode())
    repo.env.update(HOST_USER=s3.host[0], HOST_SECRET=s3.host[1].reveal().decode())
    said = {
        "repository": {
            "url": f"s3://test-{secrets.token_hex(6)}/site?endpoint={s3.inside}",
            "operator": {
                "access_key": "env:S3_USER",
                "secret_key": "env:S3_SECRET",
                "name": "arn:aws:iam:::user/operator",
            },
            "host": {"access_key": "env:HOST_USER", "secret_key": "env:HOST_SECRET", "name": "arn:aws:iam:::user/host"},
        },
        "lock": False,
        "schedule": False,
        "targets": {"rto": "30m", "rpo": "1d"},
        "paths": [{"path": "/srv/files", "name": "files"}],
        "drill": {"on": "spare", "queries": QUERIES, "canary": CANARY},
    }
    (folder / "backups").mkdir()
    (folder / "backups/box.yml").write_text(yaml.safe_dump(said))
    repo.on_host("mkdir -p /srv/files && echo hello >/srv/files/greeting")
    repo.invoke("backup.init", "--host", "box", "--create", "--fix")
    both = [repo.start("provision", "--host", name) for name in ("box", "spare")]
    for child in both:
        out, err = child.communicate(timeout=600)
        assert child.returncode == 0, (out, err)
    repo.done("deploy", "--host", "box")
    made = Drilled(repo, spare, s3, escrow)
    made.sql("INSERT INTO tasks (title) SELECT 'row ' || n FROM generate_series(1, 500) n")
    made.redis("SET kept yes")
    repo.on_host("echo sent >/var/lib/docker/volumes/taskflow_sent/_data/letter")
    repo.done("backup", "--host", "box")
    repo.done("backup.trust", "--host", "box")
    return made


def _identities(repo: Repository) -> Path:
    """Make the operator's identity and the escrow's; return the escrow's file."""
    operator, escrow = age.new_identity(), age.new_identity()
    for name, identity in (("identity", operator), ("escrow", escrow)):
        (repo.root / name).touch(mode=0o600)
        (repo.root / name).write_bytes(identity.reveal() + b"\n")
    (repo.root / "secrets").mkdir()
    (repo.root / "secrets/recipients.txt").write_text(f"{age.recipient_of(operator)}\n{age.recipient_of(escrow)}\n")
    repo.env.update(TOOLKIT_IDENTITY=str(repo.root / "identity"), TOOLKIT_DRILL_KEY=str(repo.root / "drill.key"))
    return repo.root / "escrow"
