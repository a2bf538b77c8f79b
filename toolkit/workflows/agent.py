"""Talking to a host's agent: who it is comes first, and nothing is sent to one that is not ours."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from toolkit.host import Host, Process
from toolkit.machine.agent import ENTRY
from toolkit.vault.delivery import Delivery
from toolkit.words import frames
from toolkit.words.command import command
from toolkit.words.errors import Error, HostError, Unreachable
from toolkit.words.values import Secret
from toolkit.workflows import wheelhouse

FORMAT = "toolkit agent 1"


def put(host: Host, delivery: Delivery, values: Sequence[Secret]) -> dict[str, Any]:
    """Deliver a set of secrets, complete or not at all; return the agent's receipt.

    Raises HostError for an agent that is missing or of another version, and what the agent itself raised.
    """
    stream = Stream(host, host.open(command(ENTRY, "secrets", "put")))
    try:
        check(host, stream.hear())
        stream.say(frames.pack(delivery.header(), b"".join(value.reveal() for value in values)))
        answer = stream.hear()
    finally:
        stream.close()
    if "fault" in answer:
        raise fault(host, answer["fault"])
    receipt: dict[str, Any] = answer["receipt"]
    return receipt


def listing(host: Host) -> dict[str, Any]:
    """Return what stands where on the host: names, tags and holes, no values. Raises HostError."""
    return asked(host, "secrets", "list")


def asked(host: Host, *words: str) -> dict[str, Any]:
    """Return what the agent says, where its answer is one JSON object. Raises HostError."""
    result = host.run(command(ENTRY, *words), check=False)
    if not result.ok:
        raise _silent(host, result.complaint)
    try:
        told: dict[str, Any] = frames.parse(result.stdout)
    except HostError as error:
        raise _silent(host, result.complaint) from error
    check(host, told)
    return told


def check(host: Host, told: Mapping[str, Any]) -> None:
    """Raise HostError for an agent that this toolkit did not build."""
    if not _is_ours(told):
        raise HostError(
            f"{host.name}: the agent there ({told.get('release') or 'unnamed'}) is not the one of this toolkit",
            hint=f"invoke provision --host {host.name}",
        )


def _is_ours(told: Mapping[str, Any]) -> bool:
    named = told.get("format") == FORMAT and all(isinstance(told.get(key), str) for key in ("python", "architecture"))
    extras = told.get("extras", ())
    if not named or not isinstance(extras, list | tuple) or not set(extras) <= wheelhouse.EXTRAS.keys():
        return False
    expected: str = wheelhouse.release(told["python"], told["architecture"], *extras).name
    return told.get("release") == expected


class Stream:
    """Frames, and lines after them, over a process."""

    def __init__(self, host: Host, process: Process) -> None:
        self._host = host
        self._process = process
        self._out = bytearray()
        self._err = b""

    def hear(self) -> dict[str, Any]:
        try:
            return frames.take(self._read)[0]
        except HostError as error:
            raise _silent(self._host, self._err.decode(errors="replace").strip()) from error

    def say(self, frame: bytes) -> None:
        self._process.write(frame)
        self._process.finish()

    def lines(self) -> Iterator[bytes]:
        """Yield lines to the end of the stream.

        Raises HostError where the agent ended with a complaint, Unreachable where the connection did.
        """
        while True:
            line, ended, rest = bytes(self._out).partition(b"\n")
            if ended:
                self._out = bytearray(rest)
                yield line
            elif not self._more():
                break
        if self._err.strip():
            raise _silent(self._host, self._err.decode(errors="replace").strip())
        if self._process.wait() != 0:
            raise Unreachable(f"{self._host.name}: the connection was lost", hint="try again")

    def close(self) -> None:
        self._process.close()

    def _read(self, size: int) -> bytes:
        while not self._out:
            if not self._more():
                return b""
        piece = bytes(self._out[:size])
        del self._out[:size]
        return piece

    def _more(self) -> bool:
        out, err = self._process.read()
        self._out += out
        self._err += err
        return bool(out or err)


def _silent(host: Host, complaint: str) -> HostError:
    said = f":\n{complaint}" if complaint else ""
    return HostError(f"{host.name}: no answer from the agent{said}", hint=f"invoke provision --host {host.name}")


def fault(host: Host, told: Mapping[str, Any]) -> Error:
    """Return the error that the agent raised."""
    return kind_of(told["code"])(f"{host.name}: {told['message']}", hint=str(told["hint"]))


def kind_of(code: int) -> type[Error]:
    """Return the error with an exit code."""
    return next((kind for kind in _tree(Error) if kind.exit_code == code), HostError)


def _tree(kind: type[Error]) -> list[type[Error]]:
    return [kind, *(found for child in kind.__subclasses__() for found in _tree(child))]
