"""The cases of lint's rules: one folder each with a Compose file that breaks the rule and one that does not.

`bad.txt` has all that the rule finds. `<file>.context.yml` says what else is known: a part of a host file, what the
host has. `<file>.json` is what the real `docker compose config` made of the file, recorded by
`python -m tests.lint_cases`; a lab test proves it current.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from toolkit.config import compose, suppressions
from toolkit.config.document import parse
from toolkit.config.models import HostFile, Machine, Stack
from toolkit.faces import render
from toolkit.lab.engine import Engine
from toolkit.lab.pictures import Pictures
from toolkit.stack.lint import RULES, Finding, judge, model
from toolkit.stack.lint.model import Capacity, Deployed, Model
from toolkit.words.values import Size
from toolkit.workflows import lint
from toolkit.workflows.resolve import Answer, Contained, Request

FOLDER = Path(__file__).parent / "cases" / "lint"
PLACE = "/project"
"""What recorded models have in place of the folder that the case lies in on this machine."""


def files() -> list[Path]:
    """Return the Compose files of all cases."""
    return sorted(path for kind in ("bad", "good") for path in FOLDER.glob(f"*/{kind}.yaml"))


def requests(path: Path) -> list[Request]:
    """Return how a case is resolved: as it is, and with every profile on."""
    plain = Request(path.parent, (path,), project="shop")
    return [plain, replace(plain, profiles=(lint.EVERYTHING,))]


def resolve(paths: Sequence[Path]) -> list[str]:
    """Resolve cases through the real Compose, in one container, and return what is recorded of each."""
    compose_here = Contained(Engine(), Pictures(Engine(), render.listener()).recipe("compose", "trixie"))
    answers = compose_here.answers([one for path in paths for one in requests(path)], [FOLDER])
    pairs = zip(answers[::2], answers[1::2], strict=True)
    return [_recorded(path, pair) for path, pair in zip(paths, pairs, strict=True)]


def _recorded(path: Path, pair: tuple[Answer, Answer]) -> str:
    assert [answer.code for answer in pair] == [0, 0], (path, [answer.errors for answer in pair])
    known = {name: json.loads(answer.output) for name, answer in zip(("resolved", "whole"), pair, strict=True)}
    if known["whole"] == known["resolved"]:
        del known["whole"]
    return json.dumps(known, indent=1, sort_keys=True).replace(str(path.parent), PLACE) + "\n"


def findings(path: Path) -> list[Finding]:
    """Lint a case, from what was recorded of it."""
    recorded = json.loads(path.with_suffix(".json").read_text())
    context = _context(path)
    document = compose.read(path)
    found = _described(
        model.read(recorded["resolved"], recorded.get("whole"), directory=PLACE), path, document, context
    )
    stack = found.stack.lint if found.stack else ()
    return judge(found, RULES, [*stack, *suppressions.read(path.name, document)])


def _context(path: Path) -> dict[str, Any]:
    beside = path.with_suffix(".context.yml")
    value = parse(beside.read_text())[0].value if beside.exists() else {}
    assert isinstance(value, dict)
    return value


def _described(found: Model, path: Path, document: Any, context: dict[str, Any]) -> Model:
    if "stack" in context or "machine" in context:
        stack = Stack.model_validate({"name": "shop", "directory": "shop", **context.get("stack", {})})
        machine = Machine.model_validate(context.get("machine", {}))
        host = HostFile(name="prod", root=path.parent, connection="local", machine=machine, stack=stack)
        found = model.of_host(found, stack, machine, lint._ingredients(host))
    if "deployed" in context:
        deployed = Deployed(dict(_sources(context["deployed"])), frozenset(context["deployed"]["volumes"]))
        found = replace(found, deployed=deployed, sources=dict(_sources(context)))
    memory = Size.parse(context["memory"]) if "memory" in context else None
    marked = {path.name: compose.Marked(document, {})}
    read = dict(lint._read(path.parent, path.parent / ".env", marked))
    env = lint._env({name: lint.env_files.parse(text) for name, text in read.items()}, marked, Path())
    return replace(found, capacity=Capacity(memory, context.get("cpus")), **env)


def _sources(context: dict[str, Any]) -> Iterator[tuple[tuple[str, str], str]]:
    for one in context["sources"]:
        yield (one["service"], one["target"]), one["path"]


def main() -> None:
    paths = files()
    for path, recorded in zip(paths, resolve(paths), strict=True):
        path.with_suffix(".json").write_text(recorded)


if __name__ == "__main__":
    main()
