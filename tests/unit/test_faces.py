"""Faces: what a terminal, a log and a program get to see."""

import io
import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import SimpleNamespace

import pytest

from toolkit.faces import data, render
from toolkit.host import File
from toolkit.words.command import command
from toolkit.words.errors import Error
from toolkit.words.report import Silent, Table
from toolkit.words.values import Duration, Secret, Size


class Terminal(io.StringIO):
    """A stream that claims to be one."""

    def isatty(self) -> bool:
        return True


def plain_lines(stream: io.StringIO) -> list[str]:
    lines = stream.getvalue().splitlines()
    assert all(re.match(r"\[ +\d+\.\d s\] ", line) for line in lines)
    return [line.partition("] ")[2] for line in lines]


def test_a_log_gets_a_plain_line_for_everything() -> None:
    stream = io.StringIO()
    listener = render.listener(stream=stream)
    listener.step("pull images")
    listener.line("db pulled")
    listener.warn("slow")
    listener.done("2 images")
    listener.done()
    assert plain_lines(stream) == ["→ pull images", "  db pulled", "! slow", "✓ 2 images", "✓ done"]


def test_a_log_hears_of_progress_now_and_then_only(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("toolkit.faces.render.time", SimpleNamespace(monotonic=lambda: now[0]))
    stream = io.StringIO()
    listener = render.listener(stream=stream)
    for percent in range(0, 100, 10):
        listener.progress(percent, 100, "chunks")
        now[0] += 3
    assert plain_lines(stream) == ["  0 % chunks", "  40 %, 18 s left chunks", "  80 %, 6.0 s left chunks"]


def test_bytes_on_their_way_have_a_rate_and_a_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("toolkit.faces.render.time", SimpleNamespace(monotonic=lambda: now[0]))
    pace = render.Pace()
    assert pace.told(Size(0), Size.parse("4MiB"), "a") == "0 % a"
    now[0] += 10
    assert pace.told(Size.parse("1MiB"), Size.parse("4MiB"), "b\x1b[2J") == "25 %, 102.4 KiB/s, 30 s left b\\x1b[2J"
    assert pace.told(Size.parse("2MiB"), Size(0)) == "2 MiB, 204.8 KiB/s"
    assert pace.told(Size.parse("4MiB"), Size.parse("4MiB")) == "100 %, 409.6 KiB/s, 0.0 s left"


def test_a_new_step_has_a_pace_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("toolkit.faces.render.time", SimpleNamespace(monotonic=lambda: now[0]))
    stream = io.StringIO()
    listener = render.listener(stream=stream)
    for title in ("first", "second"):
        listener.step(title)
        listener.progress(0, 10)
        now[0] += 20
        listener.progress(5, 10)
    assert [line for line in plain_lines(stream) if "left" in line] == ["  50 %, 20 s left"] * 2


def test_names_from_a_stranger_cannot_steer_the_terminal(terminal: Terminal) -> None:
    hostile = "a\x1b]0;title\x07\r\u202eb\udcff"
    listener = render.LiveLines(terminal)
    listener.warn(hostile)
    render.error(Error(f"lost {hostile}\nand more", hint=hostile), terminal)
    shown = r"a\x1b]0;title\x07\r\u202eb\udcff"
    assert f"! {shown}\n" in seen(terminal)
    assert f"lost {shown}\nand more\n  hint: {shown}\n" in seen(terminal)


def test_a_name_that_is_no_utf_8_can_be_printed_as_json_and_comes_back() -> None:
    for text in (data.dumps({"path": "caf\udce9"}), "".join(data.stream([{"path": "caf\udce9"}]))):
        assert "caf\\udce9" in text
        text.encode()
        assert json.loads(text.strip("[]")) == {"path": "caf\udce9"}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_long_list_is_the_same_json_piece_by_piece(count: int) -> None:
    values = [{"size": Size(number)} for number in range(count)]
    assert json.loads("".join(data.stream(values))) == data.plain(values)


def test_who_wants_quiet_hears_nothing() -> None:
    stream = Terminal()
    listener = render.listener(quiet=True, stream=stream)
    assert isinstance(listener, Silent)
    listener.step("x")
    listener.progress(1, 2)
    listener.warn("x")
    assert stream.getvalue() == ""


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    return Terminal()


def seen(stream: io.StringIO) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())


def test_a_terminal_keeps_a_line_for_each_step_that_is_done(terminal: Terminal) -> None:
    listener = render.listener(stream=terminal)
    assert isinstance(listener, render.LiveLines)
    listener.step("pull images")
    listener.line("db")
    listener.done("2 images")
    assert re.search(r"✓ pull images 2 images \d\.\d s\n", seen(terminal))


def test_square_brackets_are_text_and_never_style(terminal: Terminal) -> None:
    listener = render.listener(stream=terminal)
    listener.step("read [red]/etc/x[/red]")
    listener.line("[/nothing] [bold]")
    listener.warn("[link=x]odd[/link]")
    listener.done("[green]")
    assert "! [link=x]odd[/link]" in seen(terminal)
    assert "✓ read [red]/etc/x[/red] [green]" in seen(terminal)


@pytest.mark.parametrize(("done", "total", "told"), [(0, 0, "0"), (7, 0, "7"), (1, 3, "33 %"), (3, 3, "100 %")])
def test_a_share_is_a_percentage_where_the_whole_is_known(done: float, total: float, told: str) -> None:
    assert render.share(done, total) == told


def test_a_table_is_aligned_and_has_no_trailing_spaces(capsys: pytest.CaptureFixture[str]) -> None:
    render.table(Table(("host", "address", "stack"), [("a", "203.0.113.10", "-"), ("longer", "x", "taskflow")]))
    assert capsys.readouterr().out == (
        "host    address       stack\n"
        "a       203.0.113.10  -\n"
        "longer  x             taskflow\n"
    )  # fmt: skip


def test_a_table_without_rows_shows_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    render.table(Table(("host", "stack"), []))
    assert capsys.readouterr().out == "host  stack\n"


def test_a_row_that_lacks_a_cell_is_an_error_and_not_a_crooked_table() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        render.table(Table(("host", "stack"), [("a",)]))


def test_a_table_on_a_terminal_shows_cells_as_they_are(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", terminal)
    render.table(Table(("name",), [("[bold]x[/bold]",)], title="All"))
    assert "[bold]x[/bold]" in seen(terminal)
    assert "All" in seen(terminal)


def test_a_diff_is_indented_and_plain_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    render.diff("--- a\n+++ b\n-old\n+new\n")
    assert capsys.readouterr().out == "    --- a\n    +++ b\n    -old\n    +new\n"


def test_a_diff_is_coloured_on_a_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", terminal)
    render.diff("-old\n+new\n same\n")
    assert terminal.getvalue() == "    \x1b[31m-old\x1b[0m\n    \x1b[32m+new\x1b[0m\n     same\n"


@pytest.mark.parametrize(
    ("hint", "told"), [("add one", "error: no disk\n  hint: add one\n"), ("", "error: no disk\n")], ids=["hint", "none"]
)
def test_an_error_is_one_line_and_a_way_out(hint: str, told: str) -> None:
    stream = io.StringIO()
    render.error(Error("no disk", hint=hint), stream)
    assert stream.getvalue() == told


@dataclass(frozen=True)
class Login:
    user: str
    password: Secret
    keys: tuple[Secret, ...]
    limit: Size
    within: Duration
    home: PurePosixPath


def test_json_is_numbers_where_there_are_units_and_masks_where_there_are_secrets() -> None:
    secret = Secret.of("hunter2")
    login = Login("ann", secret, (secret,), Size.parse("1KiB"), Duration.parse("2m"), PurePosixPath("/srv"))
    assert json.loads(data.dumps(login)) == {
        "user": "ann",
        "password": "Secret(…)",
        "keys": ["Secret(…)"],
        "limit": 1024,
        "within": 120.0,
        "home": "/srv",
    }


@pytest.mark.parametrize(
    "value",
    [
        Secret.of("hunter2"),
        {"a": [Secret.of("hunter2")]},
        {Secret.of("hunter2"): 1},
        command("docker", "login", stdin=Secret.of("hunter2")),
        File("/k", Secret.of("hunter2")),
        (one for one in [Secret.of("hunter2")]),
    ],
    ids=["alone", "nested", "a key", "input of a command", "content of a file", "generated"],
)
def test_no_secret_gets_into_json(value: object) -> None:
    written = data.dumps(value)
    assert "hunter2" not in written
    assert "Secret(…)" in written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "null"),
        (True, "true"),
        ("é", '"é"'),
        (b"a\xff", '"a\N{REPLACEMENT CHARACTER}"'),
        ((), "[]"),
        ({1: {2}}, '{\n  "1": [\n    2\n  ]\n}'),
        (Login, '"Login"'),
    ],
)
def test_everything_has_a_form_in_json(value: object, written: str) -> None:
    assert data.dumps(value) == written
