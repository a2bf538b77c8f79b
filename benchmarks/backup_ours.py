"""One step of our own side of the benchmark, as a process of its own: `python -m benchmarks.backup_ours STEP …`.

The steps are what a host (`backup`) and a control side (`restore`, `verify`) do; each pays for its own start.
"""

import argparse
import json
from pathlib import Path

from toolkit.crypto import age
from toolkit.repository import Origin, Pin, Repository, Tree, backup, restore
from toolkit.repository.verify import verify_hashes
from toolkit.store import AdminStore, Credentials, open_store
from toolkit.words.values import Secret

HOST = "bench"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("step", choices=("keys", "backup", "restore", "verify"))
    parser.add_argument("--store", default="")
    parser.add_argument("--work", type=Path, required=True, help="keys, credentials and state")
    parser.add_argument("--tree", type=Path)
    given = parser.parse_args()
    if given.step == "keys":
        return draw_keys(given.work)
    store = _store(given.store, given.work)
    steps = {"backup": _backup, "restore": _restore, "verify": _verify}
    return steps[given.step](store, given.work, given.tree)


def draw_keys(work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    for name in ("operator", "escrow"):
        (work / name).write_bytes(age.new_identity().reveal())
        (work / name).chmod(0o600)


def _store(url: str, work: Path) -> AdminStore:
    saved = work / "credentials.json"
    who = json.loads(saved.read_text()) if saved.exists() else None
    return open_store(url, Credentials(who[0], Secret.of(who[1])) if who else None)


def _origin(store: AdminStore, work: Path) -> Origin:
    recipients = [age.recipient_of(_identity(work, name)) for name in ("operator", "escrow")]
    return Origin(host=HOST, store=store, state=work / "state", recipients=recipients)


def _identity(work: Path, name: str) -> Secret:
    return Secret((work / name).read_bytes())


def _backup(store: AdminStore, work: Path, tree: Path) -> None:
    print(json.dumps({"stored": backup(_origin(store, work), [Tree("data", tree)]).stored}))


def _restore(store: AdminStore, work: Path, tree: Path) -> None:
    pin = Pin(_origin(store, work).signing_key().verify_key)
    restore(Repository(store, HOST, (_identity(work, "operator"),), pin).newest(), tree)


def _verify(store: AdminStore, _work: Path, _tree: Path) -> None:
    findings = verify_hashes(store, HOST)
    if findings.damaged:
        raise SystemExit(f"damaged: {sorted(findings.damaged)}")


if __name__ == "__main__":
    main()
