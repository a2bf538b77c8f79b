"""Taskflow's files agree with each other: Compose files, stand-in images, README."""

import re
from pathlib import Path
from typing import Any

from toolkit.config import compose

EXAMPLE = Path(__file__).parents[2] / "examples" / "taskflow"
BASE: dict[str, Any] = dict(compose.read(EXAMPLE / "compose.yaml")["services"])
PRODUCTION: dict[str, Any] = dict(compose.read(EXAMPLE / "compose.prod.yaml")["services"])
SERVICES = sorted(BASE | PRODUCTION)


def merged(service: str) -> dict[str, Any]:
    return {**BASE.get(service, {}), **PRODUCTION.get(service, {})}


def test_api_and_worker_share_one_layer_with_python() -> None:
    api, worker = (list(steps(EXAMPLE / name / "Dockerfile")) for name in ("api", "worker"))
    assert api[:6] == worker[:6]
    assert any("python3-psycopg" in line for line in api[:6])


def steps(dockerfile: Path) -> list[str]:
    return [line for line in dockerfile.read_text().splitlines() if not line.startswith("#")]


def test_files_that_the_stack_mounts_exist() -> None:
    mounts = [mount for service in SERVICES for mount in merged(service).get("volumes", [])]
    local = [mount.split(":")[0] for mount in mounts if mount.startswith("./")]
    assert local
    assert [path for path in local if not (EXAMPLE / path).is_file()] == []


def test_the_example_environment_sets_every_variable_that_has_no_default() -> None:
    required = set(re.findall(r"\$\{(\w+):-\}", (EXAMPLE / "compose.yaml").read_text()))
    assert required == {"POSTGRES_PASSWORD", "REDIS_PASSWORD"}
    assert required <= set(re.findall(r"^(\w+)=", (EXAMPLE / ".env.example").read_text(), re.MULTILINE))


def test_production_takes_its_passwords_from_files_alone() -> None:
    assert "PASSWORD:-" not in (EXAMPLE / "compose.prod.yaml").read_text()
    for service in ("db", "cache", "api", "worker"):
        assert merged(service)["secrets"], service
