"""The main job as a user types it: a bare host is provisioned, a stack is deployed, and both last."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.steps import Repository, repository, until
from toolkit.lab import Lab
from toolkit.lab.images import publish

pytestmark = pytest.mark.lab
# Each system takes minutes.
SYSTEMS = [
    pytest.param(name, marks=pytest.mark.some(1, "systems of the main job", name)) for name in ("debian13", "debian12")
]

HOSTILE = 'it\'s "quoted" $HOME `id` \\n # no comment {{x}}'


@pytest.fixture(scope="module", params=SYSTEMS)
def repo(
    request: pytest.FixtureRequest, lab: Lab, registry: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Repository]:
    """A repository whose host is provisioned and runs the stack, on each system."""
    publish(lab, Path("examples/taskflow").resolve())
    name = f"job-{request.param}"
    made = repository(tmp_path_factory.mktemp(request.param) / "repo", lab, lab.host(name, request.param))
    # A cloud's first boot leaves this behind, and sshd takes the first value it meets.
    made.on_host("echo 'PasswordAuthentication yes' > /etc/ssh/sshd_config.d/50-cloud-init.conf")
    assert made.invoke("plan", "--host", "box").code == 2
    made.done("provision", "--host", "box")
    made.done("deploy", "--host", "box")
    yield made
    lab.remove(name)


def reachable(lab: Lab, repo: Repository) -> set[int]:
    """Return which ports of the host a stranger on the same network can connect to."""
    probe = f"""
import socket
for port in (22, 80, 443, 2375, 3000, 5432, 6379):
    with socket.socket() as probe:
        probe.settimeout(2)
        if probe.connect_ex(("{repo.vps.address}", port)) == 0:
            print(port)
"""
    words = ["docker", "exec", lab.vps("stranger").container, "python3", "-c", probe]
    return {int(line) for line in subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()}


def logins(repo: Repository) -> int:
    return repo.on_host("journalctl --unit=ssh --output=cat --no-pager").count("Accepted publickey")


def test_a_second_provision_changes_nothing(repo: Repository) -> None:
    assert "0 changes made" in repo.done("provision", "--host", "box").out
    assert repo.invoke("plan", "--host", "box").code == 0


def test_sshd_does_what_the_host_file_says_and_not_what_the_cloud_left(repo: Repository) -> None:
    effective = repo.on_host("sshd -T").splitlines()
    assert "passwordauthentication no" in effective
    assert "permitrootlogin no" in effective
    assert "maxauthtries 3" in effective


def test_every_service_is_healthy(repo: Repository) -> None:
    result = repo.done("status", "--host", "box", "--json").data
    assert {one["service"]: one["state"] for one in result["services"]} == dict.fromkeys(
        ("api", "cache", "db", "proxy", "worker"), "healthy"
    )
    assert len(repo.containers()) == 6


def test_the_stack_does_real_work(repo: Repository) -> None:
    post = "curl -sk -X POST -H 'content-type: application/json' -d '{\"title\": \"from the test\"}' https://127.0.0.1/tasks"
    made = json.loads(repo.on_host(post))
    until(f"curl -sk --max-time 5 https://127.0.0.1/tasks/{made['id']} | grep -q '\"done\"'", repo, 30)


def test_a_second_deploy_touches_no_container_and_needs_one_connection(repo: Repository) -> None:
    before, count = repo.containers(), logins(repo)
    said = repo.done("deploy", "--host", "box", "--provision")
    # To look at the log is a login too.
    assert logins(repo) == count + 2
    assert "nothing to do" in said.out
    assert repo.containers() == before


def test_a_changed_mounted_file_recreates_exactly_its_service(repo: Repository) -> None:
    before = repo.containers()
    config = repo.stack / "proxy/taskflow.conf"
    config.write_text(config.read_text() + "\n# changed\n")
    result = repo.done("deploy", "--host", "box", "--json").data
    after = repo.containers()
    assert result["recreated"] == ["proxy"]
    assert {name for name in after if after[name] != before.get(name)} == {"taskflow-proxy-1"}


def test_a_changed_variable_reaches_the_service_with_its_exact_value(repo: Repository) -> None:
    compose = repo.stack / "compose.yaml"
    compose.write_text(compose.read_text().replace("      LOG_LEVEL:", "      EXTRA: ${EXTRA:-}\n      LOG_LEVEL:", 1))
    repo.change(lambda content: content["stack"]["variables"].update(EXTRA=HOSTILE))
    repo.done("deploy", "--host", "box")
    environment = json.loads(repo.on_host("docker inspect --format '{{json .Config.Env}}' taskflow-api-1"))
    assert f"EXTRA={HOSTILE}" in environment


def test_passwords_and_tokens_are_on_no_disk_of_the_host(repo: Repository, lab: Lab) -> None:
    for name in ("ghcr-token", "postgres-password", "redis-password"):
        value = lab.home.secret(name).reveal().decode()
        # Docker's own state holds the environment that Compose gave it; nothing of ours may.
        found = repo.on_host(
            f"grep -rlsF -- '{value}' /opt /etc /root /home /tmp /var/tmp /var/log /var/lib/toolkit || true"
        )
        assert found == "", name
    assert repo.on_host("ls -A /run/toolkit/registry 2>/dev/null || true") == ""


def test_logs_and_exec_reach_the_containers(repo: Repository) -> None:
    assert repo.done("logs", "--host", "box", "--service", "db", "--lines", "5").out
    assert repo.done("exec", "--host", "box", "--service", "db", "--", "printf", "%s", "a b").out == "a b"
    assert repo.done("ssh", "--host", "box", "--", "echo", "hello there").out == "hello there\n"
    assert repo.invoke("exec", "--host", "box", "--service", "nothing", "--", "true").code == 10


def test_two_deploys_at_once_do_not_mix(repo: Repository) -> None:
    conf = repo.stack / "proxy/taskflow.conf"
    conf.write_text(conf.read_text() + "\n# and again\n")
    first, second = repo.start("deploy", "--host", "box"), repo.start("deploy", "--host", "box")
    outcomes = [(process.communicate(timeout=300), process.returncode) for process in (first, second)]
    codes = sorted(code for _, code in outcomes)
    # The later one is told who is at work; if it came late enough it found nothing left to do.
    assert codes in ([0, 24], [0, 0]), outcomes
    repo.done("status", "--host", "box")
    again = repo.done("deploy", "--host", "box")
    assert "nothing to do" in again.out, (again, outcomes)


def test_a_stranger_reaches_only_what_is_open_also_after_a_restart_and_a_reboot(repo: Repository, lab: Lab) -> None:
    lab.host("stranger")
    assert "3000" in repo.on_host("docker port taskflow-api-1")
    assert reachable(lab, repo) == {22, 80, 443}
    repo.on_host("systemctl restart docker")
    until("curl -skf --max-time 3 https://127.0.0.1/health", repo)
    assert reachable(lab, repo) == {22, 80, 443}
    lab.reboot(repo.vps.name)
    until("curl -skf --max-time 3 https://127.0.0.1/health", repo)
    assert reachable(lab, repo) == {22, 80, 443}


def test_after_a_reboot_nothing_is_left_to_do(repo: Repository) -> None:
    until("! docker ps --format '{{.Status}}' | grep -qv '(healthy)'", repo)
    assert "0 changes made" in repo.done("provision", "--host", "box").out
    repo.done("status", "--host", "box")
    assert "nothing to do" in repo.done("deploy", "--host", "box").out
