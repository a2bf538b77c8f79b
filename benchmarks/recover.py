"""How long a lost host takes to come back, beside the sum of what nobody can do without.

`python -m benchmarks.recover` prints the table of benchmarks/README.md that is about recovery: taskflow with a gigabyte
of rows is backed up to the lab's S3 and recovered onto a bare lab host. Beside it, on another bare host: `apt-get
install` of the very packages that the recovery installed, the download of one compressed dump from the same S3, and
`pg_restore` of it, on the server that was recovered. Everything it makes is removed at the end.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import measure
from toolkit.crypto import age
from toolkit.lab import Lab
from toolkit.lab.hosts import Vps
from toolkit.lab.images import publish
from toolkit.store import Credentials, open_store
from toolkit.store.s3 import S3Store

ROOT = Path(__file__).resolve().parent.parent
LOST, FRESH, PEER = "bench-lost", "bench-fresh", "bench-peer"
_BYTES_IN_A_ROW = 210
_FILL = """
INSERT INTO tasks (title, status, result, finished_at) SELECT 'the customer looked at item ' || i % 1000, 'done',
  encode(sha512(i::text::bytea), 'base64') || ' and went on', now() FROM generate_series(1, {rows}) i;
"""
_PACKAGES = "dpkg-query --show --showformat '${Package}\\n'"
_APT = "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "


@dataclass
class Desk:
    """A scratch repository whose host `site` is the one that gets lost."""

    lab: Lab
    root: Path
    env: dict[str, str] = field(default_factory=dict)

    def invoke(self, *words: str) -> str:
        """Run a verb that must succeed."""
        done = subprocess.run(
            [sys.executable, "-m", "invoke", *words],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(ROOT), **self.env},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise SystemExit(f"invoke {' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def on(self, vps: Vps, script: str, stdin: bytes = b"") -> str:
        """Run a script on a lab host as root."""
        words = self.lab.ssh_command(vps, "sudo", "sh", "-c", shlex.quote(script))
        done = subprocess.run(words, input=stdin, capture_output=True, check=False)
        if done.returncode:
            raise SystemExit(f"{script}: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode()


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--mib", type=int, default=1024)
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    print(measure.machine(), flush=True)
    with _desk() as desk:
        rows = [_round(desk, given.mib, number) for number in range(given.rounds)]
    print(_table(rows))


@contextmanager
def _desk() -> Iterator[Desk]:
    lab = Lab.of(ROOT)
    lab.up(hosts=0)
    root = lab.home.folder / "benchmarks" / "recover"
    shutil.rmtree(root, ignore_errors=True)
    for folder in ("hosts", "backups"):
        (root / folder).mkdir(parents=True)
    shutil.copytree(ROOT / "examples/taskflow", root / "examples/taskflow")
    shutil.copy(ROOT / "tasks.py", root)
    (root / ".lab").symlink_to(lab.home.folder)
    publish(lab, ROOT / "examples/taskflow")
    desk = Desk(lab, root)
    try:
        yield desk
    finally:
        for name in (LOST, FRESH, PEER):
            if name in lab.home.state().hosts:
                lab.remove(name)
        shutil.rmtree(root, ignore_errors=True)


def _round(desk: Desk, mib: int, number: int) -> dict[str, float]:
    """Lose a host with so much data, and bring it back; then do the parts by hand."""
    store = _prepared(desk, mib, number)
    desk.lab.lose(LOST)
    fresh = desk.lab.host(FRESH)
    shutil.copy(desk.lab.host_file(FRESH), desk.root / "hosts/replacement.yml")
    before = set(desk.on(fresh, _PACKAGES).split())
    begun = time.monotonic()
    said = json.loads(desk.invoke("recover", "--host", "site", "--to", "replacement", "--json"))
    found = {"recover": time.monotonic() - begun, **{f"phase {name}": took for name, took in said["seconds"].items()}}
    packages = sorted(set(desk.on(fresh, _PACKAGES).split()) - before)
    found |= _by_hand(desk, fresh, store, packages)
    desk.lab.remove(FRESH)
    desk.lab.remove(PEER)
    print(f"round {number + 1}: {found}", file=sys.stderr, flush=True)
    return found


def _prepared(desk: Desk, mib: int, number: int) -> S3Store:
    vps = desk.lab.host(LOST)
    shutil.copy(desk.lab.host_file(LOST), desk.root / "hosts/site.yml")
    operator, escrow = age.new_identity(), age.new_identity()
    identity = desk.root / "identity"
    identity.write_bytes(operator.reveal())
    identity.chmod(0o600)
    s3 = desk.lab.s3()
    desk.env.update(TOOLKIT_IDENTITY=str(identity))
    for who, (access, secret) in (("S3", s3.operator), ("HOST", s3.host)):
        desk.env.update({f"{who}_USER": access, f"{who}_SECRET": secret.reveal().decode()})
    url = f"s3://bench-{os.getpid()}-{number}/site?endpoint={s3.inside}"
    described: dict[str, Any] = {
        "repository": {
            "url": url,
            "operator": {"access_key": "env:S3_USER", "secret_key": "env:S3_SECRET"},
            "host": {"access_key": "env:S3_USER", "secret_key": "env:S3_SECRET"},
        },
        "recipients": [age.recipient_of(operator), age.recipient_of(escrow)],
        "lock": False,
        "schedule": False,
    }
    principal = "arn:aws:iam:::user/"
    described["repository"]["operator"]["name"] = f"{principal}operator"
    described["repository"]["host"] = {
        "access_key": "env:HOST_USER", "secret_key": "env:HOST_SECRET", "name": f"{principal}host"
    }  # fmt: skip
    (desk.root / "backups/site.yml").write_text(json.dumps(described))
    (desk.root / "backups/site.head").unlink(missing_ok=True)
    desk.invoke("backup.init", "--host", "site", "--create", "--fix")
    desk.invoke("provision", "--host", "site")
    desk.invoke("deploy", "--host", "site")
    fill = _FILL.format(rows=(mib << 20) // _BYTES_IN_A_ROW)
    psql = "docker exec --interactive taskflow-db-1 psql -qU taskflow"
    desk.on(vps, psql, fill.encode())
    desk.invoke("backup", "--host", "site")
    desk.invoke("backup.trust", "--host", "site")
    desk.on(vps, "docker exec taskflow-db-1 pg_dump -U taskflow -Fc -Z zstd:3 taskflow >/root/dump")
    store = open_store(url, Credentials(s3.operator[0], s3.operator[1]))
    assert isinstance(store, S3Store)
    words = desk.lab.ssh_command(vps, "sudo", "cat", "/root/dump")
    body = subprocess.run(words, capture_output=True, check=True).stdout
    store.put_new("dump", body)
    return store


def _by_hand(desk: Desk, fresh: Vps, store: S3Store, packages: list[str]) -> dict[str, float]:
    peer = desk.lab.host(PEER)
    install = _timed(lambda: desk.on(peer, _APT + " ".join(packages)))
    s3, where = desk.lab.s3(), store.place
    who = f"{s3.operator[0]}:{s3.operator[1].reveal().decode()}"
    link = f"{s3.inside}/{where.bucket}/{where.path('dump')}"
    fetch = f"curl --silent --fail --aws-sigv4 aws:amz:us-east-1:s3 --user {who} --output /root/dump {link}"
    download = _timed(lambda: desk.on(peer, fetch))
    content = store.get("dump")
    desk.on(fresh, "cat >/root/dump", content)
    restore = "docker exec taskflow-db-1 createdb -U taskflow peer"
    desk.on(fresh, restore)
    load = "docker exec --interactive taskflow-db-1 pg_restore -U taskflow -d peer --exit-on-error </root/dump"
    return {"apt": install, "download": download, "pg_restore": _timed(lambda: desk.on(fresh, load))}


def _timed(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def _table(rounds: list[dict[str, float]]) -> str:
    middle = {name: median(one.get(name, 0.0) for one in rounds) for name in rounds[0]}
    total = sum(middle[name] for name in ("apt", "download", "pg_restore"))
    rows = [("`invoke recover`", f"{middle['recover']:.1f} s", f"{middle['recover'] / total:.2f}×")]
    rows += [
        (f"- {name.removeprefix('phase ')}", f"{took:.1f} s", "") for name, took in middle.items() if "phase" in name
    ]
    rows += [("sum of the parts by hand", f"{total:.1f} s", "1.00×")]
    rows += [(f"- {name}", f"{middle[name]:.1f} s", "") for name in ("apt", "download", "pg_restore")]
    return measure.table(("", "wall", "ratio"), rows)


if __name__ == "__main__":
    main()
