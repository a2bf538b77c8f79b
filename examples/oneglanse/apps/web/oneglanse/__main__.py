"""Start one role: `python3 -m oneglanse web`, `agent`, `migrate`, `landing` or `docs`."""

import sys
from collections.abc import Mapping
from pathlib import Path

from standin import migrate as migrations
from standin import start, stores, worker
from standin.settings import number, value
from standin.web import Server, serve
from standin.worker import Repeated

from oneglanse import agent, pages, web
from oneglanse.product import Product
from oneglanse.stores import EventTable, RedisCache, RunTable


def database(environment: Mapping[str, str]) -> stores.Postgres:
    return stores.Postgres(value(environment, "DATABASE_URL"), value(environment, "DATABASE_PASSWORD"))


def product(environment: Mapping[str, str]) -> Product:
    redis = stores.client(value(environment, "REDIS_URL"), value(environment, "REDIS_PASSWORD"))
    events = stores.ClickHouse(
        value(environment, "CLICKHOUSE_URL"),
        value(environment, "CLICKHOUSE_DB", "oneglanse"),
        value(environment, "CLICKHOUSE_PASSWORD"),
    )
    return Product(
        runs=RunTable(database(environment)),
        events=EventTable(events),
        jobs=stores.Queue(redis, "oneglanse:runs"),
        cache=RedisCache(redis),
    )


def listen(environment: Mapping[str, str], routes: web.Routes) -> None:
    serve(Server(("0.0.0.0", int(number(environment, "PORT", 3000))), routes))  # noqa: S104 - the container's own


def run_web(environment: Mapping[str, str]) -> None:
    listen(environment, web.routes(product(environment)))


def run_agent(environment: Mapping[str, str]) -> None:
    storage = Path(value(environment, "STORAGE", "/storage"))
    browser = agent.Browser(value(environment, "TARGET_URL"))
    work = product(environment)
    repeated = [Repeated(10, lambda: work.jobs.recover(agent.RECOVER_AFTER))]
    worker.run(lambda: agent.one_run(work, browser, storage), repeated)


def run_migrate(environment: Mapping[str, str]) -> None:
    migrations.migrate(database(environment), Path("migrations"))


def run_landing(environment: Mapping[str, str]) -> None:
    listen(environment, pages.landing(value(environment, "APP_URL", "http://127.0.0.1:3001")))


def run_docs(environment: Mapping[str, str]) -> None:
    listen(environment, pages.docs())


ROLES = {"web": run_web, "agent": run_agent, "migrate": run_migrate, "landing": run_landing, "docs": run_docs}
sys.exit(start.start(ROLES))
