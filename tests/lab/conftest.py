"""Fixtures of the lab tests: services and fresh hosts of this checkout's own lab.

The lab is taken down at the end when the tests started it, unless TOOLKIT_LAB_KEEP is set. Several test runs may use
it at once: the last one out takes it down.
"""

import fcntl
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.carried import Carried
from tests.carried import carried as carry
from tests.selection import SEED, leave_out
from tests.trial import Trial, trial
from toolkit.faces import render
from toolkit.lab import Lab
from toolkit.lab.hosts import Vps
from toolkit.lab.services import S3

ROOT = Path(__file__).parents[2]
FreshHost = Callable[..., Vps]


def pytest_report_header() -> str:
    return f"TOOLKIT_SEED={SEED}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    leave_out(config, items)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab of this checkout, with its network; services and hosts come with the fixtures that name them."""
    lab = Lab.of(ROOT, render.listener(stream=sys.__stderr__))
    lab.home.folder.mkdir(mode=0o700, exist_ok=True)
    ours = lab.home.folder / "started-by-tests"
    # Held before anything comes up, so that a run that is just ending does not take it down again.
    with (lab.home.folder / "use.lock").open("a") as use:
        fcntl.flock(use, fcntl.LOCK_SH)
        found = lab.engine.ask("network", "inspect", lab.home.name("net")).ok
        lab.up(hosts=0, services=())
        if not found:
            ours.touch()
        yield lab
        if ours.exists() and not os.environ.get("TOOLKIT_LAB_KEEP") and _alone(use.fileno()):
            lab.down()


def _alone(descriptor: int) -> bool:
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@pytest.fixture(scope="session")
def registry(lab: Lab) -> str:
    """The address of the registry that answers as ghcr.io, and on port 5000 as a mirror of Docker Hub."""
    lab.start_service("registry")
    return lab.address("registry")


@pytest.fixture(scope="session")
def s3(lab: Lab) -> S3:
    """A real S3 with two users."""
    lab.start_service("s3")
    return lab.s3()


@pytest.fixture(scope="session")
def apt_repository(lab: Lab) -> str:
    """The URL, for hosts of the lab, of a signed apt repository shaped like Docker's; its key is at `<url>/gpg`."""
    lab.start_service("repository")
    return f"http://{lab.address('repository')}/linux/debian"


@pytest.fixture
def fresh_host(lab: Lab) -> Iterator[FreshHost]:
    """Make hosts, removed after the test: `fresh_host()` is a bare one, `fresh_host(os="debian12", stocked=True)`."""
    made: list[str] = []

    def make(os: str = "debian13", *, stocked: bool = False) -> Vps:
        made.append(f"test-{secrets.token_hex(3)}")
        return lab.host(made[-1], os, stocked=stocked)

    yield make
    for name in made:
        lab.remove(name)


@pytest.fixture
def vps(fresh_host: FreshHost) -> Vps:
    """A bare Debian 13 host that this test has for itself."""
    return fresh_host()


@pytest.fixture(scope="session")
def carried(
    request: pytest.FixtureRequest, lab: Lab, registry: str, s3: S3, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Carried]:
    """An example on a host, under its own backup policy. Tests of one example run one after the other, on one host.

    pytest sees to that: it puts tests together that have the same parameter of a fixture of the session.
    """
    with carry(tmp_path_factory.mktemp(request.param), lab, s3, request.param) as made:
        yield made


@pytest.fixture(scope="session")
def trials(lab: Lab, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A host that runs the trial stack, for every test of what can go wrong in a deploy. Each leaves it whole."""
    # Debian 12, because its guests have limits of memory on every kind of machine.
    yield trial(tmp_path_factory.mktemp("trials") / "repo", lab, lab.host("trials", "debian12", stocked=True))
    lab.remove("trials")


@pytest.fixture
def whole(trials: Trial) -> Iterator[Trial]:
    """The trial stack, running one release whole, with whatever a test changes in the repository taken back."""
    kept = {
        path: path.read_bytes() for path in trials.repo.root.rglob("*") if path.is_file() and ".lab" not in path.parts
    }
    trials.runs_whole()
    yield trials
    for path, content in kept.items():
        if path.read_bytes() != content:
            path.write_bytes(content)
