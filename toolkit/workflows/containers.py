"""Containers of a host's stack, for a person at the terminal: their logs, and commands inside of them."""

import sys
from collections.abc import Sequence

from toolkit.config.models import HostFile
from toolkit.host import Host
from toolkit.stack import containers
from toolkit.words.command import command
from toolkit.words.errors import ConfigError
from toolkit.workflows.attempt import required


def logs(host_file: HostFile, host: Host, *, service: str, follow: bool, lines: int) -> int:
    """Copy logs to standard output and standard error, as they come where `follow` is set; return the exit code."""
    stack = required(host_file)
    if service:
        _running(host, stack.name, service)
    options = ["--follow"] if follow else []
    names = [service] if service else []
    compose = ("docker", "compose", "--project-name", stack.name)
    process = host.open(command(*compose, "logs", "--no-color", "--tail", lines, *options, *names))
    process.finish()
    while True:
        out, err = process.read()
        if not (out or err):
            return process.wait()
        for stream, text in ((sys.stdout, out), (sys.stderr, err)):
            stream.buffer.write(text)
            stream.flush()


def inside(host_file: HostFile, host: Host, service: str, words: Sequence[str]) -> list[str]:
    """Return the words that run a command in a service's first running container."""
    container = _running(host, required(host_file).name, service)
    terminal = ["--tty"] if sys.stdin.isatty() else []
    return ["docker", "exec", "--interactive", *terminal, container.name, *words]


def _running(host: Host, project: str, service: str) -> containers.Container:
    found = containers.parse(host.run(containers.read(project)).text)
    names = sorted({one.service for one in found})
    for one in found:
        if one.service == service:
            return one
    raise ConfigError(
        f"{host.name}: no container of a service {service!r}", hint=f"there are: {', '.join(names) or '-'}"
    )
