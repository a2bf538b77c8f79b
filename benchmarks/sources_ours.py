"""Our side of the benchmark of sources, as a process of its own: `python -m benchmarks.sources_ours CONTAINER WORK`."""

import sys
from pathlib import Path

from benchmarks.backup_ours import HOST
from toolkit.crypto import age
from toolkit.repository import Origin, backup
from toolkit.sources.docker import Docker
from toolkit.sources.postgres import Postgres
from toolkit.sources.protocol import Place
from toolkit.store import open_store
from toolkit.words.values import Secret


def main() -> None:
    container, work = sys.argv[1], Path(sys.argv[2])
    recipients = [age.recipient_of(Secret((work / name).read_bytes())) for name in ("operator", "escrow")]
    origin = Origin(host=HOST, store=open_store(f"file://{work}/store"), state=work / "state", recipients=recipients)
    source = Postgres(name="postgres/db", user="bench")
    with source.capture(Docker(), Place(container=container)) as capture:
        report = backup(origin, capture.inputs)
    if report.outcome != "complete":
        raise SystemExit(str(report.unread))


if __name__ == "__main__":
    main()
