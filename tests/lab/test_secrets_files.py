"""Secrets as files, on a real host: nobody else sees a value, rotation spares others, and a reboot heals."""

import base64
import json
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.steps import Repository, Said, repository
from toolkit.lab import Lab
from toolkit.lab.images import publish

pytestmark = pytest.mark.lab

# Characters that every encoding writes in its own way, so that a leak is found whatever form it takes.
CANARIES = {
    "postgres_password": "canary/pg+7f3a ~ 19c4",
    "redis_password": "canary/rd+51e0 ~ 8d2b",
}
ROTATED = "canary/rd+ROTATED ~ 77aa"


def forms(value: str) -> set[str]:
    """Return how a value looks in clear, in base64, in hexadecimal and in a URL."""
    raw = value.encode()
    return {value, base64.b64encode(raw).decode().rstrip("="), raw.hex(), urllib.parse.quote(value, safe="")}


ALL_FORMS = {form for value in (*CANARIES.values(), ROTATED) for form in forms(value)}


class Watch:
    """Samples arguments and environments of every process here, which includes those of the lab's hosts."""

    def __init__(self, allowed_environments: tuple[str, ...] = ()) -> None:
        self.leaks: set[str] = set()
        self.samples = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._allowed = allowed_environments

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    self._look(process / name)
            self.samples += 1

    def _look(self, path: Path) -> None:
        try:
            content = path.read_bytes().decode(errors="replace")
        except OSError:
            return
        if found := {f"{path.name}: {form}" for form in ALL_FORMS if form in content}:
            with suppress(OSError):
                found.add(f"of {(path.parent / 'cmdline').read_bytes()!r}")
            self.leaks |= found


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("identity") / "identity"


@pytest.fixture(scope="module")
def repo(lab: Lab, registry: str, identity: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    publish(lab, Path("examples/taskflow").resolve())
    made = repository(tmp_path_factory.mktemp("secrets") / "repo", lab, lab.host("secrets", stocked=True))
    made.change(lambda content: content["stack"].pop("secrets"))
    made.env["TOOLKIT_IDENTITY"] = str(identity)
    subprocess.run(["git", "init", "-q"], cwd=made.root, check=True)
    made.done("provision", "--host", "box")
    yield made
    lab.remove("secrets")


@pytest.fixture(scope="module")
def said(repo: Repository, identity: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Said], Watch]:
    """Set, deploy, rotate and fail to deploy, under watch; return all that was said."""
    told: list[Said] = []
    escrow = tmp_path_factory.mktemp("escrow") / "identity"
    subprocess.run(["age-keygen", "-o", str(escrow)], check=True, capture_output=True)
    public = subprocess.run(
        ["age-keygen", "-y", str(escrow)], check=True, capture_output=True, text=True
    ).stdout.strip()
    with Watch() as watch:
        told.append(repo.done("secrets.init", "--escrow", public))
        for name, value in CANARIES.items():
            told.append(repo.fed(value, "secrets.set", name, "--host", "box"))
        told.append(repo.done("secrets.check", "--host", "box"))
        told.append(repo.done("deploy", "--host", "box"))
        told.append(repo.done("secrets.diff", "--host", "box"))
        told.append(repo.fed(ROTATED, "secrets.set", "redis_password", "--host", "box"))
        differs = repo.invoke("secrets.diff", "--host", "box", "--json")
        assert (differs.code, {one["name"]: one["state"] for one in differs.data}) == (
            2,
            {"postgres_password": "same", "redis_password": "differs"},
        )
        told += [differs, repo.done("rollback", "--host", "box", "--debug", "--to", first(repo))]
        told.append(crashed(repo))
        told.append(repo.done("deploy", "--host", "box", "--json"))
        compose = repo.stack / "compose.yaml"
        kept = compose.read_text()
        compose.write_text(kept.replace("taskflow-api:${IMAGE_TAG:-1.0.0}", "taskflow-api:no-such-tag"))
        told.append(repo.invoke("deploy", "--host", "box", "--debug"))
        compose.write_text(kept)
        told.append(repo.invoke("status", "--host", "box", "--debug"))
    return told, watch


def first(repo: Repository) -> str:
    """Return the release that runs: going back to it delivers its secrets again, without the vault."""
    return str(repo.done("releases", "--host", "box", "--json").data["current"])


def crashed(repo: Repository) -> Said:
    """Deploy, and let the driver crash while it has secrets in its hands."""
    kill = """
    while ! grep -q '"phase": "secrets"' /run/toolkit/taskflow/driver.json 2>/dev/null; do sleep 0.01; done
    kill -ABRT $(sed -n 's/.*"pid": \\([0-9]*\\).*/\\1/p' /run/toolkit/taskflow/driver.json)
    """
    repo.on_host("rm -f /run/toolkit/taskflow/driver.json")
    with subprocess.Popen(
        repo.lab.ssh_command(repo.vps, "sudo", "sh", "-s"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as killer:
        assert killer.stdin is not None
        killer.stdin.write(kill.encode())
        killer.stdin.close()
        return repo.invoke("deploy", "--host", "box", "--debug")


def leaks_in(text: str) -> set[str]:
    return {form for form in ALL_FORMS if form in text}


def test_the_watch_would_see_a_leak() -> None:
    with Watch() as watch:
        subprocess.run(["sh", "-c", "sleep 1", CANARIES["redis_password"]], check=True)
        subprocess.run(["sleep", "1"], env={"LEAK": CANARIES["postgres_password"]}, check=True)
    assert {leak.partition(":")[0] for leak in watch.leaks} >= {"cmdline", "environ"}
    assert leaks_in(f"in a log: {base64.b64encode(ROTATED.encode()).decode()}")


def test_no_process_shows_a_secret_in_its_arguments_or_environment(said: tuple[list[Said], Watch]) -> None:
    _, watch = said
    assert watch.samples > 10
    assert watch.leaks == set()


def test_no_verb_says_a_secret_also_when_it_fails(said: tuple[list[Said], Watch]) -> None:
    told, _ = said
    assert [one.code for one in told[-2:]] == [1, 0] or told[-2].code == 17
    assert leaks_in("".join(one.out + one.err for one in told)) == set()


def test_no_inspection_of_a_container_or_image_shows_a_secret(repo: Repository, said: object) -> None:
    everything = repo.on_host("docker inspect $(docker ps --all --quiet) $(docker image ls --quiet)")
    assert len(everything) > 10_000
    assert leaks_in(everything) == set()


def test_neither_journal_nor_disk_of_the_host_holds_a_secret(repo: Repository, said: object) -> None:
    assert leaks_in(repo.on_host("journalctl --no-pager --output=cat")) == set()
    for form in ALL_FORMS:
        places = "/etc /home /opt /root /tmp /var/cache /var/lib/docker /var/lib/toolkit /var/log /var/tmp"
        # In the database's own files passwords are hashes; in Redis they are nowhere.
        found = repo.on_host(f"grep -rlsF -- {form!r} {places} || true")
        assert found == "", form


def test_the_repository_holds_no_secret_in_clear(repo: Repository, said: object) -> None:
    for path in repo.root.rglob("*"):
        if path.is_file() and ".lab" not in path.parts:
            assert leaks_in(path.read_bytes().decode(errors="replace")) == set(), path


def test_a_rotated_secret_recreates_its_users_and_not_the_database(said: tuple[list[Said], Watch]) -> None:
    told, _ = said
    assert told[-3].data["recreated"] == ["api", "cache", "worker"]


def test_the_reader_reads_its_secret_and_another_user_of_the_host_reads_none(repo: Repository, said: object) -> None:
    inside = "docker exec taskflow-api-1 sh -c 'id --user; cat /run/secrets/redis_password'"
    assert repo.on_host(inside) == f"1000\n{ROTATED}"
    path = repo.on_host("ls -d /run/secrets/taskflow/redis_password-*").split()[0]
    for attempt in ("ls /run/secrets/taskflow", f"cat {path}"):
        as_guest = f"setpriv --reuid=1002 --regid=1002 --clear-groups {attempt} 2>&1 || true"
        assert "ermission denied" in repo.on_host(as_guest), attempt


def test_secrets_stand_on_a_memory_file_system(repo: Repository, said: object) -> None:
    assert repo.on_host("stat --file-system --format=%T /run/secrets/taskflow").strip() == "tmpfs"


def test_a_reboot_brings_every_service_back_with_nobody_at_hand(repo: Repository, said: object, lab: Lab) -> None:
    lab.reboot(repo.vps.name)
    deadline = time.monotonic() + 180
    while repo.invoke("status", "--host", "box").code != 0:
        assert time.monotonic() < deadline, repo.invoke("status", "--host", "box")
        time.sleep(2)
    assert "nothing to do" in repo.done("deploy", "--host", "box").out


def test_a_host_that_lost_a_sealed_copy_keeps_docker_down_until_a_deploy_brings_it_back(
    repo: Repository, said: object, lab: Lab
) -> None:
    repo.on_host("for copy in /var/lib/toolkit/secrets/taskflow/redis_password-*.age; do echo damaged >$copy; done")
    lab.reboot(repo.vps.name)
    assert (
        repo.on_host("systemctl is-system-running --wait >/dev/null; systemctl is-active docker || true") != "active\n"
    )
    assert "redis_password" in repo.on_host("journalctl --unit=toolkit-secrets --no-pager --output=cat --boot")
    assert repo.invoke("status", "--host", "box").code != 0
    repo.done("deploy", "--host", "box")
    assert repo.invoke("status", "--host", "box").code == 0


def test_a_missing_secret_is_told_and_the_old_set_stays(repo: Repository, said: object) -> None:
    before = repo.on_host("ls -l --time-style=full-iso /run/secrets/taskflow"), repo.containers()
    file = next((repo.root / "secrets").rglob("redis_password.age"))
    kept = file.read_bytes()
    file.unlink()
    refused = repo.invoke("deploy", "--host", "box")
    file.write_bytes(kept)
    assert refused.code == 11, refused
    assert "redis_password" in refused.err
    assert (repo.on_host("ls -l --time-style=full-iso /run/secrets/taskflow"), repo.containers()) == before


def test_the_agent_of_another_version_is_refused_with_the_way_out(repo: Repository, said: object) -> None:
    repo.fed("another-one-entirely", "secrets.set", "postgres_password", "--host", "box")
    repo.on_host("cd /opt/toolkit && readlink current > was && ln -sfn /nowhere current")
    refused = repo.invoke("deploy", "--host", "box")
    repo.on_host('cd /opt/toolkit && ln -sfn "$(cat was)" current && rm was')
    assert refused.code == 12, refused
    assert "invoke provision --host box" in refused.err
    assert json.loads(repo.done("status", "--host", "box", "--json").out)["services"]
