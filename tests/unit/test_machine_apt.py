"""Packages: one list of what is installed, and what is missing from it."""

import pytest

from toolkit.converge.fake import FakeFacts
from toolkit.host import File
from toolkit.machine import apt, files

RECORDED = """\
adduser install ok-removed-never 3.152
apt install installed 3.0.3
docker.io hold installed 26.1.5+dfsg1-9+b9
old-thing deinstall config-files 1.0
tzdata install installed 2025b-4+deb13u1
"""


@pytest.fixture
def facts() -> FakeFacts:
    facts = FakeFacts()
    facts.tell(apt.INSTALLED, RECORDED)
    return facts


def test_only_what_is_fully_installed_counts() -> None:
    installed = apt.parse_installed(RECORDED)
    assert set(installed) == {"apt", "docker.io", "tzdata"}
    assert installed["docker.io"] == apt.Package("26.1.5+dfsg1-9+b9", held=True)


def test_only_missing_packages_are_installed_all_in_one_go(facts) -> None:
    [change] = apt.packages("apt", "htop", "old-thing", "tzdata")(facts)
    assert change.summary == "install htop, old-thing"
    assert change.action.argv[-2:] == ("htop", "old-thing")


def test_installed_packages_are_silence(facts) -> None:
    assert list(apt.packages("apt", "tzdata")(facts)) == []


def test_apt_is_begun_once_and_waited_for_as_long_as_it_is_at_work(facts) -> None:
    def both() -> list[str]:
        return [change.summary for one in (apt.begun, apt.ended) for change in one("apt", "htop")(facts)]

    facts.tell(apt.WORK, "")
    assert both() == ["begin to install htop", "wait for apt to end"]
    facts.tell(apt.WORK, "working\n")
    assert both() == ["wait for apt to end"]
    # What stood in its way is said by trying again.
    facts.tell(apt.WORK, "failed\n")
    assert both() == ["try once more to install htop"]
    # It has other things to do after the last package is there, and holds its locks.
    facts.tell(apt.INSTALLED, RECORDED + "htop install installed 3\n")
    assert both() == []
    facts.tell(apt.WORK, "working\n")
    assert both() == ["wait for apt to end"]


def test_what_apt_has_begun_with_is_waited_for_only_as_long_as_it_needs_a_mirror(facts) -> None:
    def fetched(name: str) -> list[str]:
        return [change.summary for change in apt.fetched(name)(facts)]

    facts.tell(apt.WORK, "fetching\n")
    assert fetched("apt") == ["wait for apt to have its files"]
    # It may be among what is being installed.
    assert fetched("nftables") == ["install nftables"]
    assert [change.summary for change in apt.ended("apt")(facts)] == ["wait for apt to end"]
    assert list(apt.begun("apt", "nftables")(facts)) == []
    for otherwise in ("working\n", "failed\n", ""):
        facts.tell(apt.WORK, otherwise)
        assert fetched("apt") == []


@pytest.mark.parametrize(("version", "wanted"), [("26.1.5*", 0), ("26.1.5+dfsg1-9+b9", 0), ("28.*", 1), ("26", 1)])
def test_a_version_is_compared_as_apt_would(facts, version: str, wanted: int) -> None:
    assert len(list(apt.packages(f"docker.io={version}")(facts))) == wanted


def test_what_is_held_stays_held_and_the_rest_is_held(facts) -> None:
    assert list(apt.hold("docker.io")(facts)) == []
    [change] = apt.hold("docker.io", "apt")(facts)
    assert change.action.argv == ("apt-mark", "hold", "--", "apt")


def test_a_repository_trusts_its_own_key_and_no_other() -> None:
    facts = FakeFacts()
    facts.tell(files.text("/etc/apt/keyrings/docker.asc"), "absent\n")
    facts.tell(files.text("/etc/apt/sources.list.d/docker.sources"), "absent\n")
    key = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"
    ring, source = apt.repository(
        "docker", url="https://mirror.example/linux/debian", suite="trixie", component="stable", key=key
    )(facts)
    assert ring.action == File("/etc/apt/keyrings/docker.asc", key.encode())
    assert source.action.body.decode() == (
        "Types: deb\nURIs: https://mirror.example/linux/debian\nSuites: trixie\nComponents: stable\n"
        "Signed-By: /etc/apt/keyrings/docker.asc\n"
    )


def test_a_binary_key_goes_to_a_gpg_file() -> None:
    facts = FakeFacts()
    facts.tell(files.sealed("/etc/apt/keyrings/m.gpg"), "absent\n")
    facts.tell(files.text("/etc/apt/sources.list.d/m.sources"), "absent\n")
    ring, _ = apt.repository("m", url="http://m.example", suite="./", key=b"\x99\x02\xff")(facts)
    assert ring.action.path == "/etc/apt/keyrings/m.gpg"


def test_a_pin_is_a_file_of_its_own() -> None:
    facts = FakeFacts()
    facts.tell(files.text("/etc/apt/preferences.d/trixie.pref"), "absent\n")
    [change] = apt.pin("trixie", "*", "release n=trixie", 100)(facts)
    assert change.action.body == b"Package: *\nPin: release n=trixie\nPin-Priority: 100\n"
