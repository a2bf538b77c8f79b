"""Which machines are carried, and what is said to the others."""

import pytest

from toolkit.converge.fake import FakeFacts
from toolkit.machine import os
from toolkit.words.errors import Unsupported

TRIXIE = "debian\n13\ntrixie\nx86_64\ndocker\n/usr/bin/python3.13\n/usr/bin/python3.13\n"
JAMMY = "ubuntu\n22.04\njammy\nx86_64\nnone\n/usr/bin/python3.10\n"
NO_PYTHON = "debian\n12\nbookworm\naarch64\nnone\n"


def refused(recorded: str) -> Unsupported:
    facts = FakeFacts()
    facts.tell(os.SYSTEM, recorded)
    with pytest.raises(Unsupported) as caught:
        list(os.supported()(facts))
    assert caught.value.exit_code == 16
    return caught.value


def test_a_system_is_read_with_its_newest_python() -> None:
    assert os.parse_system(TRIXIE) == os.System("debian", "13", "trixie", "amd64", "docker", (3, 13))
    assert os.parse_system(NO_PYTHON) == os.System("debian", "12", "bookworm", "arm64", "", None)
    assert os.parse_system(JAMMY + "/usr/bin/python3.12\n").python == (3, 12)


@pytest.mark.parametrize("recorded", [TRIXIE, NO_PYTHON, JAMMY + "/usr/bin/python3.11\n"])
def test_what_is_carried_needs_nothing(recorded: str) -> None:
    facts = FakeFacts()
    facts.tell(os.SYSTEM, recorded)
    assert list(os.supported()(facts)) == []


def test_another_system_is_refused_with_those_that_would_do() -> None:
    error = refused("alpine\n3.22\n\nx86_64\nnone\n")
    assert error.message == "fake: alpine 3.22 is not supported"
    assert "Debian 12 or 13" in error.hint


def test_an_older_release_is_refused() -> None:
    assert "debian 11" in refused("debian\n11\nbullseye\nx86_64\nnone\n").message


def test_a_system_without_a_version_is_refused_by_name() -> None:
    assert "debian (no version)" in refused("debian\n\nforky\nx86_64\nnone\n").message


def test_another_processor_is_refused() -> None:
    error = refused("debian\n13\ntrixie\narmv7l\nnone\n/usr/bin/python3.13\n")
    assert error.message == "fake: no support for armv7l processors"


@pytest.mark.parametrize("recorded", [JAMMY, "ubuntu\n22.04\njammy\nx86_64\nnone\n"], ids=["3.10", "none"])
def test_a_python_that_is_too_old_is_said_with_the_way_out(recorded: str) -> None:
    error = refused(recorded)
    assert error.message == "fake: ubuntu 22.04 has Python 3.10, and the toolkit needs 3.11 or newer"
    assert "python3.11" in error.hint
