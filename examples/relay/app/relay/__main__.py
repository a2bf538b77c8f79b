"""Start one role: `python3 -m relay api`, `worker`, `web` or `migrate`."""

import sys
from collections.abc import Mapping
from pathlib import Path

from standin import migrate as migrations
from standin import start, stores
from standin.settings import value
from standin.web import Server, serve

from relay import api, web, worker
from relay.stores import post_office

PORT = 3000


def run_api(environment: Mapping[str, str]) -> None:
    office = post_office(environment)
    if value(environment, "DISABLE_BACKGROUND_WORKERS", "false") != "true":
        # Handy on a laptop. In production one kind of process takes jobs, or limits and scale mean nothing.
        worker.in_the_background(office)
    serve(Server(("0.0.0.0", PORT), api.routes(office)))  # noqa: S104 - the container's own address


def run_worker(environment: Mapping[str, str]) -> None:
    worker.run(post_office(environment))


def run_web(environment: Mapping[str, str]) -> None:
    serve(Server(("0.0.0.0", PORT), web.routes(value(environment, "API_URL"))))  # noqa: S104


def run_migrate(environment: Mapping[str, str]) -> None:
    database = stores.Postgres(value(environment, "DATABASE_URL"), value(environment, "DATABASE_PASSWORD"))
    migrations.migrate(database, Path("migrations"))


sys.exit(start.start({"api": run_api, "worker": run_worker, "web": run_web, "migrate": run_migrate}))
