"""Oneglanse on a fresh host: events in ClickHouse, runs through PostgreSQL and Redis to a file, and what lint sees."""

import json

import pytest

from tests.carried import Carried
from tests.steps import Repository, until
from toolkit.lab import Lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.some(1, "stacks", "oneglanse"),
    pytest.mark.parametrize("carried", ["oneglanse"], indirect=True, scope="session"),
]

WEB = "curl --silent --show-error --max-time 10 http://127.0.0.1:3001"


@pytest.fixture
def repo(carried: Carried) -> Repository:
    return carried.repo


def sql(repo: Repository, query: str) -> str:
    words = ("exec", "--host", "box", "--service", "db", "--", "psql", "-U", "oneglanse", "-Atc", query)
    return repo.done(*words).out.strip()


def test_every_service_is_healthy_and_the_first_start_scripts_ran(repo: Repository) -> None:
    result = repo.done("status", "--host", "box", "--json").data
    running = ("db", "clickhouse", "redis", "web", "landing", "docs", "agent-worker")
    assert {one["service"]: one["state"] for one in result["services"]} == {
        **dict.fromkeys(running, "healthy"),
        "migrate": "done",
    }
    assert sql(repo, "SELECT count(*) FROM pg_roles WHERE rolname = 'reader'") == "1"
    assert sql(repo, "SELECT count(*) FROM migrations") == "1"
    # Docker starts again what failed: a first start that only its second try survives would not show.
    assert repo.on_host("docker inspect --format '{{.RestartCount}}' oneglanse-clickhouse").strip() == "0"


def test_pages_answer_on_loopback(repo: Repository) -> None:
    for port, title in ((3000, "Oneglanse"), (3001, "Oneglanse"), (3002, "Documentation")):
        assert f"<h1>{title}</h1>" in repo.on_host(f"curl --silent --fail http://127.0.0.1:{port}/")


def test_events_are_rows_in_clickhouse(repo: Repository) -> None:
    event = json.dumps({"site": "it's here", "kind": "view", "path": "/a"})
    for _ in range(3):
        repo.on_host(f"{WEB}/events -d @- <<'END'\n{event}\nEND")
    counts = json.loads(repo.on_host(f"{WEB}/counts/it%27s%20here"))
    assert counts == {"view": 3}


def test_a_run_goes_from_the_web_to_a_file_of_the_agent(repo: Repository) -> None:
    made = json.loads(repo.on_host(f'{WEB}/runs -d \'{{"site": "example"}}\''))
    until(f"{WEB}/runs/{made['id']} | grep -q '\"done\"'", repo, 60)
    size = repo.on_host(f"docker exec oneglanse-agent-worker stat -c %s /storage/run-{made['id']}.html").strip()
    assert sql(repo, f"SELECT status, size FROM runs WHERE id = {made['id']}") == f"done|{size}"
    assert json.loads(repo.on_host(f"{WEB}/counts/example")) == {"run": 1}


def test_what_holds_data_has_no_way_out_and_no_password_in_sight(repo: Repository, lab: Lab) -> None:
    inspected = repo.on_host("docker inspect $(docker ps --all --quiet)")
    for name in ("postgres-password", "clickhouse-password", "redis-password"):
        assert lab.home.secret(name).reveal().decode() not in inspected
    assert repo.on_host("docker network inspect oneglanse_data --format '{{.Internal}}'").strip() == "true"
    assert repo.on_host("docker inspect oneglanse-agent-worker --format '{{.HostConfig.ShmSize}}'").strip() == str(
        2**30
    )
    stranger = "docker exec oneglanse-web python3 -c \"import urllib.request as u; u.urlopen('http://clickhouse:8123/?query=SELECT+1')\""
    assert "HTTP Error" in repo.on_host(f"{stranger} 2>&1 | tail -1")


def test_lint_sees_first_start_scripts_that_changed_too_late(repo: Repository) -> None:
    found = repo.done("lint", "--host", "box", "--json").data["findings"]
    assert {one["rule"] for one in found if one["severity"] != "info"} == {"unpinned-image"}
    rules = {one["rule"] for one in repo.done("lint", "--host", "box", "--connect", "--json").data["findings"]}
    assert "init-scripts-changed" not in rules
    script = repo.stack / "clickhouse/init/10-events.sql"
    before = script.read_text()
    script.write_text(before + "-- changed\n")
    told = repo.done("lint", "--host", "box", "--connect", "--json").data["findings"]
    script.write_text(before)
    changed = [one for one in told if one["rule"] == "init-scripts-changed"]
    assert [(one["service"], one["file"]) for one in changed] == [
        ("clickhouse", "examples/oneglanse/docker-compose.yml")
    ]
