"""`lint`: what is wrong with a stack, told before it is deployed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.context import Context
from invoke.parser.argument import Argument

from toolkit.verbs.face import Verb, connected, host_file, listener, verb, words_of
from toolkit.words.errors import ConfigError
from toolkit.words.report import Table

if TYPE_CHECKING:
    from toolkit.config.models import HostFile
    from toolkit.host import Host
    from toolkit.stack.lint.report import Report, Told
    from toolkit.workflows.lint import Wish

FOUND = 1


class WithPaths(Verb):
    """A verb that takes any number of paths behind its name; invoke by itself wants to know how many."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        paths = [Argument(name=name, positional=True, help="a Compose file") for name in self._paths()]
        return [*paths, *super().get_arguments(ignore_unknown_help)]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*args, **{key: kwargs[key] for key in kwargs.keys() - set(self._paths())})

    def _paths(self) -> list[str]:
        return [f"path-{number}" for number, _ in enumerate(words_of(self.name), 1)]


@verb(
    klass=WithPaths,
    help={
        "host": "lint the stack of this host's file; without it, the Compose files named first",
        "profile": "turn this Compose profile on (for Compose files; a host file has its own)",
        "env-file": "variables for the Compose files; by default .env beside them",
        "memory": "what the host has, such as 8GiB",
        "cpus": "how many cores the host has",
        "connect": "ask the host what it has and runs",
        "strict": "end with exit code 1 for warnings too",
        "sarif": "also write the findings into this file, as SARIF 2.1.0 for code scanning",
        "rules": "list the rules and lint nothing",
    },
    iterable=["profile"],
)
def lint(
    _context: Context,
    host: str = "",
    profile: Sequence[str] | None = None,
    env_file: str = "",
    memory: str = "",
    cpus: str = "",
    connect: bool = False,
    strict: bool = False,
    sarif: str = "",
    rules: bool = False,
    json: bool = False,
) -> int:
    """Look for faults in a stack: `lint --host NAME`, or `lint PATH… [options]`. Exit code 1 for errors."""
    from toolkit.faces import data, render

    if rules:
        _list_rules(json=json)
        return 0
    wish = _wish(profile or (), env_file, memory, cpus)
    report = _of_host(host, wish, connect=connect, json=json) if host else _of_files(wish, connect=connect, json=json)
    if sarif:
        _write_sarif(report, Path(sarif))
    if json:
        render.say(data.dumps(report))
    else:
        _tell(report)
    return FOUND if report.count("error") or (strict and report.count("warning")) else 0


def _wish(profiles: Sequence[str], env_file: str, memory: str, cpus: str) -> "Wish":
    from toolkit.stack.lint.model import Capacity, number
    from toolkit.words.values import Size
    from toolkit.workflows.lint import Wish

    cores = number(cpus) if cpus else None
    if cpus and not cores:
        raise ConfigError(f"{cpus!r} is no number of cores", hint="write a number such as 4 or 1.5")
    capacity = Capacity(Size.parse(memory) if memory else None, cores)
    return Wish(tuple(profiles), Path(env_file) if env_file else None, capacity)


def _of_host(name: str, wish: "Wish", *, connect: bool, json: bool) -> "Report":
    from toolkit.workflows import lint as workflow

    if words_of("lint"):
        raise ConfigError("a host and Compose files are named at once", hint="lint one of them at a time")
    if wish.profiles or wish.env_file:
        raise ConfigError("--profile and --env-file are for Compose files", hint="the host file has its own: stack")
    with _reached(name, connect) as (described, machine):
        return workflow.of_host(described, wish, listener=listener(json), host=machine)


@contextmanager
def _reached(name: str, connect: bool) -> "Iterator[tuple[HostFile, Host | None]]":
    if not connect:
        yield host_file(name), None
        return
    with connected(name) as (described, machine):
        yield described, machine


def _of_files(wish: "Wish", *, connect: bool, json: bool) -> "Report":
    from toolkit.workflows import lint as workflow

    paths = [Path(word) for word in words_of("lint")]
    if not paths or connect:
        raise ConfigError(
            "--connect is for a host" if paths else "nothing to lint",
            hint="name a host, --host NAME, or Compose files right behind the verb: lint compose.yaml",
        )
    return workflow.of_files(paths, wish, listener=listener(json))


def _list_rules(*, json: bool) -> None:
    from toolkit.faces import data, render
    from toolkit.stack.lint import RULES

    if json:
        fields = ("id", "severity", "reason", "fix")
        render.say(data.dumps([{name: getattr(rule, name) for name in fields} for rule in RULES]))
    else:
        render.table(Table(("rule", "severity", "why"), [(rule.id, rule.severity, rule.reason) for rule in RULES]))


def _write_sarif(report: "Report", path: Path) -> None:
    from toolkit import __version__
    from toolkit.faces import data
    from toolkit.stack.lint import RULES
    from toolkit.stack.lint.sarif import log

    try:
        path.write_text(data.dumps(log(report, RULES, version=__version__)) + "\n")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}", hint="name another file") from error


def _tell(report: "Report") -> None:
    from toolkit.faces import render

    explained: set[str] = set()
    service: str | None = None
    for one in report.findings:
        if one.service != service:
            service = one.service
            render.say(f"\n{service or 'the stack as a whole'}")
        _say(one, explained)
    render.say(f"{chr(10) if report.findings else ''}{report.subject}: {_summary(report)}")


def _say(one: "Told", explained: set[str]) -> None:
    from toolkit.faces import render

    place = f"{one.file}:{one.line}" if one.line else one.file
    render.say(f"  {render.level(one.severity)}  {one.message}  ({one.rule}{f', {place}' if place else ''})")
    if one.rule not in explained:
        explained.add(one.rule)
        render.say(f"    {one.fix}")


def _summary(report: "Report") -> str:
    counts = [(report.count("error"), "error"), (report.count("warning"), "warning"), (report.count("info"), "note")]
    told = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts if count)
    accepted = f"; {len(report.accepted)} accepted with a reason" if report.accepted else ""
    return f"{told or 'nothing found'}{accepted}"
