"""Migrations: numbered SQL files, each run once and remembered; running them again does nothing."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

PATIENCE = 60
"""Seconds for a database that is still on its way up: a one-shot is not started again by itself."""

log = logging.getLogger("standin")


class Database(Protocol):
    def rows(self, query: str, *values: object) -> list[dict[str, object]]: ...

    def script(self, text: str) -> None: ...


def pending(files: Sequence[str], done: set[str]) -> list[str]:
    """Return the migrations that are still to run, in their order."""
    return [name for name in sorted(files) if name not in done]


def awaited(database: Database, sleep: Callable[[float], object] = time.sleep) -> None:
    """Return once the database answers; raises what its client does where that takes too long."""
    for attempt in range(PATIENCE):
        try:
            database.rows("SELECT 1")
        except Exception as error:  # whatever its client raises
            if attempt == PATIENCE - 1:
                raise
            log.info("waiting for the database: %s", type(error).__name__)
            sleep(1)
        else:
            return


def migrate(database: Database, folder: Path) -> list[str]:
    """Run what is pending, each all or none with its being remembered; return the names."""
    awaited(database)
    database.script("CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, at timestamptz DEFAULT now())")
    done = {str(row["name"]) for row in database.rows("SELECT name FROM migrations")}
    wanted = pending([path.name for path in folder.glob("*.sql")], done)
    for name in wanted:
        # Names are our own files', digits and letters: nothing to quote.
        database.script(f"{(folder / name).read_text()};\nINSERT INTO migrations (name) VALUES ('{name}')")
        log.info("migrated: %s", name)
    return wanted
