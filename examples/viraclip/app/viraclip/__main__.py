"""Start one role: `python3 -m viraclip backend`, `worker`, `comfyui` or `migrate`."""

import sys
from collections.abc import Mapping
from pathlib import Path

from standin import migrate as migrations
from standin import start, stores, worker
from standin.settings import value
from standin.web import Server, serve
from standin.worker import Repeated

from viraclip import backend, comfyui
from viraclip.pipeline import RECOVER_AFTER, Pipeline
from viraclip.stores import ClipTable, Painter, RedisProgress

PORT = 8000


def database(environment: Mapping[str, str]) -> stores.Postgres:
    return stores.Postgres(value(environment, "DATABASE_URL"), value(environment, "DATABASE_PASSWORD"))


def pipeline(environment: Mapping[str, str]) -> Pipeline:
    redis = stores.client(value(environment, "REDIS_URL"), value(environment, "REDIS_PASSWORD"))
    return Pipeline(
        table=ClipTable(database(environment)),
        jobs=stores.Queue(redis, "viraclip:jobs"),
        progress=RedisProgress(redis),
        painter=Painter(value(environment, "COMFYUI_URL")),
        output=Path(value(environment, "OUTPUT", "/output")),
    )


def run_backend(environment: Mapping[str, str]) -> None:
    serve(Server(("0.0.0.0", PORT), backend.routes(pipeline(environment))))  # noqa: S104 - the container's own address


def run_worker(environment: Mapping[str, str]) -> None:
    work = pipeline(environment)
    worker.run(work.one_job, [Repeated(5, lambda: work.jobs.recover(RECOVER_AFTER))])


def run_comfyui(environment: Mapping[str, str]) -> None:
    faults = value(environment, "DEMO_FAULTS", "false") == "true"
    serve(Server(("0.0.0.0", PORT), comfyui.routes(comfyui.Model(), faults=faults)))  # noqa: S104


def run_migrate(environment: Mapping[str, str]) -> None:
    migrations.migrate(database(environment), Path("migrations"))


sys.exit(start.start({"backend": run_backend, "worker": run_worker, "comfyui": run_comfyui, "migrate": run_migrate}))
