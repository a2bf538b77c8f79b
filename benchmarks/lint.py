"""Lint of every example against what it cannot do without: `docker compose config` of the same files, the same way.

    python -m benchmarks.lint [--rounds 5]

Both are whole processes that take turns: `invoke lint`, and `docker run … docker-compose config` with the options that
lint gives it. "After the answer" is what lint does once Compose has answered, and reading the files before: places in
files, rules, the report, in this process.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from benchmarks import measure
from benchmarks.measure import Sample
from toolkit.config.document import parse
from toolkit.faces import render
from toolkit.lab.engine import Engine
from toolkit.lab.pictures import Pictures
from toolkit.words.report import Silent
from toolkit.workflows import lint, resolve
from toolkit.workflows.resolve import Answer, Contained, Request

ROOT = Path(__file__).parents[1]
LONG = 834
"""Services of the longest file, of six lines each."""

_SERVICE = (
    '  s{0}:\n    image: "acme/s:{0}"\n    ports: ["{1}:80"]\n    environment:\n      LEVEL: info\n      N: "{0}"\n'
)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    rounds = arguments.parse_args().rounds
    image = Pictures(Engine(), render.listener()).recipe("compose", "trixie")
    with TemporaryDirectory() as folder:
        rows = [_row(name, files, Path(folder), image, rounds) for name, files in _stacks(Path(folder)).items()]
    print(measure.machine())
    print(measure.table(("", "after the answer", "lint, whole", "Compose alone", "ratio", "CPU of lint"), rows))


def _stacks(folder: Path) -> dict[str, list[Path]]:
    stacks = {}
    for host in sorted((ROOT / "examples").glob("*/host.yml")):
        plain = parse(host.read_text())[0].value
        assert isinstance(plain, dict)
        assert isinstance(plain["stack"], dict)
        files = plain["stack"]["files"]
        assert isinstance(files, tuple)
        stacks[host.parent.name] = [host.parent / str(name) for name in files]
    long = folder / "compose.yaml"
    long.write_text("services:\n" + "".join(_SERVICE.format(number, 10_000 + number) for number in range(LONG)))
    return stacks | {f"{LONG} services, {LONG * 6} lines": [long]}


def _row(name: str, files: list[Path], folder: Path, image: str, rounds: int) -> list[str]:
    variables = folder / "variables.env"
    variables.write_text("GHCR_USERNAME=acme\n")
    words = [sys.executable, "-m", "invoke", "lint", *map(str, files), "--env-file", str(variables), "--json"]
    contenders: dict[str, Callable[[], Sample]] = {
        f"lint {name}": lambda: measure.run(words, cwd=ROOT),
        f"Compose {name}": lambda: measure.run(_compose(files, variables, image), cwd=ROOT),
    }
    whole, alone = measure.in_turns(contenders, rounds).values()
    figures = [f"{_after(files, variables, image, rounds):.3f} s", f"{whole.wall:.2f} s", f"{alone.wall:.2f} s"]
    return [name, *figures, f"{whole.wall / alone.wall:.1f}×", f"{whole.cpu:.2f} s"]


@dataclass
class Remembering:
    """A Compose that is asked once, and then gives the same answer at once."""

    compose: Contained
    known: list[Answer] = field(default_factory=list)

    def answers(self, requests: Sequence[Request], folders: Sequence[Path]) -> list[Answer]:
        self.known = self.known or self.compose.answers(requests, folders)
        return self.known


def _after(files: list[Path], variables: Path, image: str, rounds: int) -> float:
    remembering = Remembering(Contained(Engine(), image))
    walls = []
    with patch.object(resolve, "compose", lambda _: remembering):
        for _ in range(rounds + 1):
            start = time.perf_counter()
            lint.of_files(files, lint.Wish(env_file=variables), listener=Silent())
            walls.append(time.perf_counter() - start)
    return statistics.median(walls[1:])


def _compose(files: list[Path], variables: Path, image: str) -> list[str]:
    options = Contained(Engine(), image).options(
        [ROOT if files[0].is_relative_to(ROOT) else variables.parent, variables.parent]
    )
    request = Request(files[0].parent, tuple(files), env_file=variables)
    return ["docker", "run", *options, image, "docker-compose", *request.words()]


if __name__ == "__main__":
    main()
