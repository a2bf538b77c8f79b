"""A connection that is gone: what is still to be closed is closed without a word."""

from collections.abc import Callable
from typing import Any

import paramiko
import pytest

from toolkit.host.ssh import SshProcess


class Channel:
    def __init__(self, fault: Exception) -> None:
        self._fault = fault

    def exec_command(self, _: bytes) -> None: ...

    def close(self) -> None:
        raise self._fault


class Transport:
    def __init__(self, fault: Exception) -> None:
        self.open_session: Callable[[], Any] = lambda: Channel(fault)


@pytest.mark.parametrize("fault", [EOFError(), OSError("Socket is closed"), paramiko.SSHException("timed out")])
def test_a_process_is_closed_whatever_the_other_side_says(fault: Exception) -> None:
    SshProcess(Transport(fault), "true").close()  # type: ignore[arg-type]


def test_a_fault_of_ours_is_not_kept_quiet() -> None:
    with pytest.raises(TypeError):
        SshProcess(Transport(TypeError()), "true").close()  # type: ignore[arg-type]
