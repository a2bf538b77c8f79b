"""The tmpfs of secrets: what is mounted where, and kernels that do not know `noswap`."""

from pathlib import Path

import pytest

from toolkit.agent import memory
from toolkit.words.errors import HostError


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a `mount` on the path that notes its arguments, and refuses those that a file names."""
    program, refused = tmp_path / "bin/mount", tmp_path / "refused"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n'
        f'if echo "$@" | grep -qf {refused}; then echo "mount: unknown option" >&2; exit 32; fi\n'
    )
    program.chmod(0o755)
    refused.write_text("no such line\n")
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return tmp_path


def asked(mount: Path) -> list[str]:
    return (mount / "asked").read_text().splitlines()


def test_secrets_stay_out_of_swap_where_the_kernel_can(mount: Path) -> None:
    memory._mount(Path("/run/secrets"))
    [line] = asked(mount)
    assert line.startswith("-t tmpfs -o mode=0711,size=64m,")
    assert line.endswith(",noswap tmpfs /run/secrets")


def test_an_older_kernel_gets_a_tmpfs_all_the_same(mount: Path) -> None:
    (mount / "refused").write_text("noswap\n")
    memory._mount(Path("/run/secrets"))
    assert ["noswap" in line for line in asked(mount)] == [True, False]


def test_a_mount_that_is_refused_is_told_in_the_hosts_words(mount: Path) -> None:
    (mount / "refused").write_text("tmpfs\n")
    with pytest.raises(HostError, match="cannot mount a tmpfs at /run/secrets: mount: unknown option"):
        memory._mount(Path("/run/secrets"))


def test_what_is_mounted_is_read_from_the_kernel(tmp_path: Path) -> None:
    found = memory.options(Path("/proc"))
    assert found is not None
    assert found[0] == "proc"
    assert memory.options(tmp_path) is None
