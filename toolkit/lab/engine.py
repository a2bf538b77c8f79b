"""The Docker Engine by its command line: the only part of the lab that runs `docker`.

No SDK, so that whatever `docker` means on this machine (a context, `DOCKER_HOST`) is what the lab uses too.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

from toolkit.words.command import Command, Result, command
from toolkit.words.errors import LabError
from toolkit.words.values import Secret

# BuildKit is a plugin that a bare machine may lack, and what the lab builds does not need it.
_ENVIRONMENT = {"DOCKER_BUILDKIT": "0", "DOCKER_CLI_HINTS": "false"}


def finish(wanted: Command, *, timeout: float = 600) -> Result:
    """Run one program of this machine to its end; a missing program is exit code 127."""
    environment = {**os.environ, **_ENVIRONMENT, **dict(wanted.env)}
    try:
        done = subprocess.run(
            wanted.argv, input=wanted.input(), capture_output=True, env=environment, timeout=timeout, check=False
        )
    except FileNotFoundError:
        return Result(wanted, 127, stderr=f"{wanted.argv[0]}: not found".encode())
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{wanted.argv[0]} did not finish within {timeout:.0f} s: {wanted}") from error
    return Result(wanted, done.returncode, done.stdout, done.stderr)


class Engine:
    """Speaks to one Engine. Every call that fails is a LabError with the Engine's own words."""

    def ask(self, *arguments: str | int, stdin: Secret | bytes | None = None, timeout: float = 600) -> Result:
        """Run `docker …` and return the result, whatever it is."""
        return finish(command("docker", *arguments, stdin=stdin), timeout=timeout)

    def run(self, *arguments: str | int, stdin: Secret | bytes | None = None, timeout: float = 600) -> Result:
        """Run `docker …`; raises LabError unless it succeeds."""
        result = self.ask(*arguments, stdin=stdin, timeout=timeout)
        if not result.ok:
            raise LabError(
                f"docker {arguments[0]} failed: {result.complaint}", hint=f"try it by hand: {result.command}"
            )
        return result

    def inside(self, container: str, wanted: Command, *, user: str = "root") -> Result:
        """Run a command in a container and return the result, whatever it is."""
        interactive = ("--interactive",) if wanted.input() else ()
        return self.ask("exec", "--user", user, *interactive, container, *wanted.argv, stdin=wanted.stdin)

    def pipe(self, source: tuple[str, ...], sink: tuple[str, ...]) -> None:
        """Run two `docker …` commands, the output of one into the other. Raises LabError unless both succeed."""
        with subprocess.Popen(["docker", *source], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as first:
            done = subprocess.run(["docker", *sink], stdin=first.stdout, capture_output=True, check=False)
            complaint = (first.communicate()[1] or done.stderr).decode(errors="replace").strip()
        if first.returncode or done.returncode:
            raise LabError(f"docker {source[0]} into docker {sink[0]} failed: {complaint}")

    def inspect(self, kind: str, name: str) -> Mapping[str, Any] | None:
        """Return what the Engine knows of a container, image, network or volume; None where there is none."""
        result = self.ask(kind, "inspect", name)
        if result.ok:
            found: Mapping[str, Any] = json.loads(result.stdout)[0]
            return found
        if "no such" in result.complaint.lower() or "not found" in result.complaint.lower():
            return None
        raise LabError(f"docker {kind} inspect {name} failed: {result.complaint}")

    def labelled(self, kind: str, label: str) -> list[str]:
        """Return the names of all containers, networks, volumes or images that carry this label."""
        everything = ("--all",) if kind == "container" else ()
        form = {"container": "{{.Names}}", "image": "{{.ID}}"}.get(kind, "{{.Name}}")
        return self.run(kind, "ls", *everything, "--filter", f"label={label}", "--format", form).text.split()
