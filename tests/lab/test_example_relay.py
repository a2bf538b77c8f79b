"""Relay on a fresh host: messages through the proxy, jobs through the queue, and what the cache may lose."""

import json

import pytest

from tests.carried import Carried
from tests.steps import Repository, until
from toolkit.lab import Lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.some(1, "stacks", "relay"),
    pytest.mark.parametrize("carried", ["relay"], indirect=True, scope="session"),
]

SITE = "curl --silent --show-error --insecure --max-time 10 https://localhost"


@pytest.fixture
def repo(carried: Carried) -> Repository:
    return carried.repo


def sql(repo: Repository, query: str) -> str:
    words = ("exec", "--host", "box", "--service", "postgres", "--", "psql", "-U", "relay", "-Atc", query)
    return repo.done(*words).out.strip()


def test_every_service_is_healthy_and_the_migrations_are_done(repo: Repository) -> None:
    result = repo.done("status", "--host", "box", "--json").data
    assert {one["service"]: one["state"] for one in result["services"]} == {
        **dict.fromkeys(("postgres", "redis-cache", "redis-queue", "api", "worker", "web", "caddy"), "healthy"),
        "migrate": "done",
    }
    assert sql(repo, "SELECT count(*) FROM migrations") == "2"
    assert len(repo.containers()) == 10


def test_a_message_goes_through_proxy_api_queue_and_worker(repo: Repository) -> None:
    sent = json.dumps({"to": "a@example.com", "subject": "it's <b>here</b>"})
    made = json.loads(repo.on_host(f"{SITE}/api/messages -d @- <<'END'\n{sent}\nEND"))
    until(f"{SITE}/api/messages/{made['id']} | grep -q '\"sent\"'", repo, 60)
    assert (
        sql(repo, f"SELECT count(*), count(DISTINCT worker) FROM deliveries WHERE message_id = {made['id']}") == "1|1"
    )
    page = repo.on_host(f"{SITE}/")
    assert "it&#x27;s &lt;b&gt;here&lt;/b&gt;" in page


def test_workers_take_stock_for_whoever_scrapes_and_nobody_outside(repo: Repository) -> None:
    inside = "docker exec relay-api-1 python3 -m standin.probe 3000"
    assert json.loads(repo.on_host(inside)) == {"database": "ok", "queue": "ok"}
    scrape = "docker exec relay-caddy-1 curl -s http://api:3000/metrics"
    until(f"{scrape} | grep -q 'relay_messages{{status=\"sent\"}} 1'", repo, 60)
    assert repo.on_host(f"{SITE}/api/metrics -o /dev/null -w '%{{http_code}}'") == "404"
    assert int(sql(repo, "SELECT count(*) FROM digests")) > 0


def test_only_workers_consume_and_a_job_whose_worker_died_is_done_by_another(repo: Repository) -> None:
    queue = "docker exec relay-redis-queue-1 redis-cli"
    number = sql(repo, "INSERT INTO messages (recipient, subject) VALUES ('b', 'lost') RETURNING id").split()[0]
    # As if a worker had taken it, and died.
    repo.on_host(f"{queue} lpush relay:jobs:taken {number}")
    until(f"{SITE}/api/messages/{number} | grep -q '\"sent\"'", repo, 60)
    workers = set(sql(repo, "SELECT DISTINCT worker FROM deliveries").split())
    ids = repo.containers()
    assert workers <= {ids["relay-worker-1"][:12], ids["relay-worker-2"][:12]}
    assert repo.on_host(f"{queue} llen relay:jobs:taken").strip() == "0"


def test_the_queue_keeps_its_promise_and_the_cache_none(repo: Repository) -> None:
    ask = "docker exec relay-redis-{} redis-cli config get '{}'"
    assert repo.on_host(ask.format("queue-1", "maxmemory-policy")).split()[1] == "noeviction"
    assert repo.on_host(ask.format("queue-1", "appendonly")).split()[1] == "yes"
    assert repo.on_host(ask.format("cache-1", "maxmemory-policy")).split()[1] == "allkeys-lru"
    repo.on_host("docker stop relay-redis-cache-1")
    assert '"messages"' in repo.on_host(f"{SITE}/api/messages")
    repo.on_host("docker start relay-redis-cache-1")


def test_passwords_are_files_and_in_no_environment(repo: Repository, lab: Lab) -> None:
    inspected = repo.on_host("docker inspect $(docker ps --all --quiet)")
    for name in ("postgres-password", "signing-key"):
        assert lab.home.secret(name).reveal().decode() not in inspected
    assert "/run/secrets/postgres_password" in inspected


def test_lint_finds_nothing_but_what_the_machine_lacks(repo: Repository) -> None:
    found = repo.done("lint", "--host", "box", "--strict", "--json").data["findings"]
    assert {one["severity"] for one in found} == {"info"}
    # Five cores' worth of limits: the machine that the lab runs on may have fewer.
    asked = repo.done("lint", "--host", "box", "--connect", "--json").data["findings"]
    cores = int(repo.on_host("nproc"))
    assert ("limits-above-host" in {one["rule"] for one in asked}) is (cores < 5)
