"""One page per verb, from what `invoke --help VERB` says: `python -m toolkit.verbs.pages` writes `docs/verbs/` anew."""

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from invoke.parser.argument import Argument
from invoke.tasks import Task

from toolkit.verbs.program import namespace

FOLDER = "docs/verbs"
# Where a verb is explained with its neighbours: by its own name, or by that of its collection.
GUIDES = {
    "hosts": "host-file.md",
    "provision": "hardening.md",
    "plan": "deploy.md",
    "ssh": "host-file.md",
    "backup": "backup.md",
    "lab": "lab.md",
    "lint": "lint.md",
    "notify": "watchdog.md",
    "secrets": "secrets.md",
    "watchdog": "watchdog.md",
    "doctor": "doctor.md",
    "drill": "drill.md",
    "restore": "restore.md",
    "recover": "recover.md",
    "runbook": "recover.md",
}
OF_DEPLOYS = "deploy.md"


def pages() -> dict[str, str]:
    """Return the content of each page by its file's name, the list of all of them included."""
    all_verbs = verbs()
    found = {f"{name}.md": _page(name, task) for name, task in all_verbs.items()}
    return found | {"README.md": _list(all_verbs)}


def guide_of(name: str) -> str:
    """Return the page that explains a verb with its neighbours."""
    return GUIDES.get(name) or GUIDES.get(name.partition(".")[0], OF_DEPLOYS)


def verbs() -> dict[str, Task[Any]]:
    """Return every verb by the name that people type: `backup`, not `backup.run`."""
    found = namespace()
    names = {next((alias for alias in aliases if alias in name), name) for name, aliases in found.task_names.items()}
    return {name: found[name] for name in sorted(names)}


def _page(name: str, task: Task[Any]) -> str:
    arguments = task.get_arguments()
    positional = [one for one in arguments if one.positional]
    options = [one for one in arguments if not one.positional]
    words = [
        f"invoke {name}",
        *(one.name.upper() for one in positional if one.name),
        *(["[options]"] if options else []),
    ]
    parts = [f"# {name}", _said(task), f"```sh\n{' '.join(words)}\n```", *_table(positional, options)]
    parts.append(f"Explained in [{guide_of(name).removesuffix('.md')}](../{guide_of(name)}); all [verbs](README.md).")
    return "\n\n".join(parts) + "\n"


def _said(task: Task[Any]) -> str:
    return inspect.cleandoc(task.__doc__ or "")


def _table(positional: list[Argument], options: list[Argument]) -> Iterator[str]:
    rows = [f"| `{(one.name or '').upper()}` | {_text(one)} |" for one in positional]
    rows += [f"| {_flags(one)} | {_text(one)} |" for one in options]
    if rows:
        yield "\n".join(["| | |", "|---|---|", *rows])


def _flags(argument: Argument) -> str:
    names = sorted(argument.names, key=len, reverse=True)
    value = "" if argument.kind is bool else f" {(argument.name or '').upper()}"
    return ", ".join(f"`{'--' if len(name) > 1 else '-'}{name}{value if len(name) > 1 else ''}`" for name in names)


def _text(argument: Argument) -> str:
    text = (argument.help or "").replace("|", "\\|")
    if argument.kind is list:
        return f"{text}; may be given several times"
    return f"{text}; by default `{argument.default}`" if argument.default not in (None, "", False, 0) else text


def _list(all_verbs: Mapping[str, Task[Any]]) -> str:
    rows = [f"| [`{name}`]({name}.md) | {_sentence(_said(task))} |" for name, task in all_verbs.items()]
    head = "# Verbs\n\nWhat `invoke --help VERB` says, a page each. `python -m toolkit.verbs.pages` writes them."
    return "\n".join([head, "", "| verb | what it does |", "|---|---|", *rows]) + "\n"


def _sentence(text: str) -> str:
    line = text.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")
    return f"{line.partition('. ')[0].rstrip('.')}."


def write(folder: Path) -> None:
    """Write every page, and remove those of verbs that are gone."""
    folder.mkdir(exist_ok=True)
    wanted = pages()
    for path in folder.glob("*.md"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write(Path(__file__).resolve().parents[2] / FOLDER)
