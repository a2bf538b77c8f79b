"""Start a worker: `python3 -m taskflow_worker`. It touches the heartbeat after each round that reached both stores."""

import logging
import os
import signal
import sys
import threading
from pathlib import Path

from taskflow_worker import loop
from taskflow_worker import settings as environment
from taskflow_worker.stores import PostgresTable, RedisQueue

HEARTBEAT = Path("/tmp/heartbeat")  # noqa: S108 - the container's own, named in compose.yaml


def main() -> int:
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        settings = environment.read(os.environ)
        logging.getLogger().setLevel(settings.log_level)
    except (environment.BadSettings, ValueError) as error:
        logging.critical("%s", error)
        return 1
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    logging.info("waiting for tasks")
    loop.run(
        RedisQueue(settings),
        PostgresTable(settings),
        stopped=stop.is_set,
        pause=lambda: stop.wait(1),
        beat=HEARTBEAT.touch,
    )
    logging.info("stopped")
    return 0


sys.exit(main())
