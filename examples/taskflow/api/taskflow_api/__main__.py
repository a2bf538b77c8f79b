"""Start the API: `python3 -m taskflow_api`."""

import logging
import os
import sys

from taskflow_api import settings as environment
from taskflow_api.board import Board
from taskflow_api.server import Server, serve
from taskflow_api.stores import PostgresTable, RedisQueue

PORT = 3000


def main() -> int:
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        settings = environment.read(os.environ)
        logging.getLogger().setLevel(settings.log_level)
    except (environment.BadSettings, ValueError) as error:
        logging.critical("%s", error)
        return 1
    board = Board(PostgresTable(settings), RedisQueue(settings))
    logging.info("listening on port %d", PORT)
    serve(Server(("0.0.0.0", PORT), board))  # noqa: S104 - the container's own address
    return 0


sys.exit(main())
