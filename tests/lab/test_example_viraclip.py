"""Viraclip on a fresh host: a clip from title to file, a killed worker that goes on, a neighbour that hangs."""

import json
import shlex

import pytest

from tests.carried import Carried
from tests.steps import Repository, until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.some(1, "stacks", "viraclip"),
    pytest.mark.parametrize("carried", ["viraclip"], indirect=True, scope="session"),
]

API = "curl --silent --show-error --max-time 10 http://127.0.0.1:8000"

# One script: between two logins a clip would be done.
KILLED = """
set -e
id=$({api}/clips -d '{{"title": "a long walk", "frames": 240}}' | grep -o '"id": [0-9]*' | cut -d ' ' -f 2)
until [ "$({api}/clips/$id | grep -o '"steps_done": [0-9]*' | cut -d ' ' -f 2)" -gt 3 ]; do sleep 0.05; done
kill -9 "$(docker inspect --format '{{{{.State.Pid}}}}' viraclip-worker-1)"
echo "$id"
"""


@pytest.fixture
def repo(carried: Carried) -> Repository:
    return carried.repo


def redis(repo: Repository, *words: str) -> str:
    line = f"printf 'AUTH %s\\n{' '.join(words)}\\n' \"$(cat /run/secrets/redis_password)\" | redis-cli"
    return repo.on_host(f"docker exec viraclip-redis-1 sh -c {shlex.quote(line)}")


def test_every_service_is_healthy(repo: Repository) -> None:
    result = repo.done("status", "--host", "box", "--json").data
    assert {one["service"]: one["state"] for one in result["services"]} == {
        **dict.fromkeys(("postgres", "redis", "backend", "worker", "comfyui"), "healthy"),
        "migrate": "done",
    }


def test_a_clip_goes_from_a_title_to_a_file_that_the_backend_only_reads(repo: Repository) -> None:
    made = json.loads(repo.on_host(f'{API}/clips -d \'{{"title": "a walk", "frames": 24}}\''))
    until(f"{API}/clips/{made['id']} | grep -q '\"done\"'", repo, 60)
    clip = json.loads(repo.on_host(f"{API}/clips/{made['id']}"))
    assert repo.on_host(f"{API}/files/{clip['file']} | head -c 9") == "YUV4MPEG2"
    assert int(repo.on_host(f"{API}/files/{clip['file']} | wc -c")) == clip["size"]
    query = "SELECT status, frames FROM clips"
    words = ("exec", "--host", "box", "--service", "postgres", "--", "psql", "-U", "viraclip", "-Atc", query)
    assert repo.done(*words).out.strip() == "done|24"
    read_only = "docker exec viraclip-backend-1 touch /output/x 2>&1 || true"
    assert "Read-only file system" in repo.on_host(read_only)


def test_a_killed_worker_is_back_and_its_job_goes_on_where_it_was(repo: Repository) -> None:
    number = repo.on_host(KILLED.format(api=API)).strip()
    until(f"{API}/clips/{number} | grep -q '\"done\"'", repo, 120)
    begun = redis(repo, "HVALS", f"viraclip:begun:{number}").split()[1:]
    # 240 frames, a plan and a file; no step but the one under way was begun again.
    assert len(begun) == 242
    assert sorted(map(int, begun))[-2] == 1
    assert repo.on_host("docker inspect --format '{{.RestartCount}}' viraclip-worker-1").strip() == "1"


def test_a_neighbour_that_hangs_is_seen_by_its_health_check(repo: Repository) -> None:
    hang = "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/demo/hang', b'{}')"
    repo.on_host(f'docker exec viraclip-comfyui-1 python3 -c "{hang}"')
    until("docker inspect --format '{{.State.Health.Status}}' viraclip-comfyui-1 | grep -q unhealthy", repo, 90)
    assert repo.invoke("status", "--host", "box").code == 1
    assert repo.on_host(f"{API}/health -o /dev/null -w '%{{http_code}}'") == "200"
    repo.on_host("docker restart viraclip-comfyui-1")
    until("docker inspect --format '{{.State.Health.Status}}' viraclip-comfyui-1 | grep -qx healthy", repo, 60)


def test_lint_finds_nothing_but_notes(repo: Repository) -> None:
    found = repo.done("lint", "--host", "box", "--strict", "--json").data["findings"]
    assert {one["severity"] for one in found} == {"info"}, found
    big = repo.invoke("lint", "--host", "box", "--memory", "8GiB", "--cpus", "4", "--strict")
    assert big.code == 1
    assert "limits of memory add up to" in big.out
