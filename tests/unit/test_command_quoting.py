"""Commands as values: what a real shell makes of their line is what they say."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.words.command import Command, Result, command, script
from toolkit.words.values import Secret

# Everything a process can be given: no NUL, and nothing that has no UTF-8 form.
WORDS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=12)
NASTY = st.text(st.sampled_from("'\"\\$`!*?[]{}()<>|&;#~ \n\t=-%aé"), max_size=12)
NAMES = st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True).filter(lambda name: name not in {"_", "PWD"})

# Prints each argument behind its length in bytes, so that no two lists of arguments print alike.
TELL = 'for word in "$@"; do printf "%s:%s;" "$(printf %s "$word" | wc -c)" "$word"; done'


def told(words: list[str]) -> bytes:
    return b"".join(b"%d:%s;" % (len(word.encode()), word.encode()) for word in words)


def in_a_shell(given_command: Command) -> bytes:
    return subprocess.run(["sh", "-c", given_command.line()], capture_output=True, check=True).stdout


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS | NASTY, max_size=5))
def test_a_shell_hands_over_the_very_same_arguments(words: list[str]) -> None:
    assert in_a_shell(script(TELL, *words)) == told(words)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(NAMES, WORDS | NASTY, min_size=1, max_size=3))
def test_a_shell_hands_over_the_very_same_environment(variables: dict[str, str]) -> None:
    text = "; ".join(f'printf "%s;" "${name}"' for name in variables)
    line = Command(("sh", "-c", text), env=tuple(variables.items()))
    assert in_a_shell(line) == b"".join(value.encode() + b";" for value in variables.values())


def test_numbers_become_words() -> None:
    assert command("sleep", 5).argv == ("sleep", "5")


def test_values_of_a_script_are_arguments_and_never_its_text() -> None:
    assert script('echo "$1"', "$(reboot)").argv == ("sh", "-c", 'echo "$1"', "sh", "$(reboot)")


@pytest.mark.parametrize(
    ("stdin", "given_bytes"),
    [(None, b""), (b"plain", b"plain"), (Secret.of("s"), b"s")],
    ids=["none", "bytes", "secret"],
)
def test_standard_input_is_bytes_whatever_it_was_given_as(stdin: Secret | bytes | None, given_bytes: bytes) -> None:
    assert command("cat", stdin=stdin).input() == given_bytes


def test_standard_input_is_part_of_what_a_command_is_but_not_of_what_it_shows() -> None:
    one, other = command("cat", stdin=b"visible-1"), command("cat", stdin=b"visible-2")
    assert one != other
    assert one.line() == other.line() == "cat"
    assert "visible" not in f"{one} {one!r}"


def test_a_long_command_is_shown_cut_and_run_whole() -> None:
    long = command("echo", "x" * 500)
    assert len(str(long)) == 198
    assert str(long).endswith("…")
    assert len(long.line()) == 505


def test_a_result_with_broken_text_is_still_readable() -> None:
    assert Result(command("cat"), 0, b"a\xffb").text == "a\N{REPLACEMENT CHARACTER}b"


def test_only_exit_code_0_is_ok() -> None:
    assert [Result(command("x"), code).ok for code in (0, 1, -1, 137)] == [True, False, False, False]


@pytest.mark.parametrize(
    ("stdout", "stderr", "complaint"),
    [
        (b"out\n", b"err\n", "err"),
        (b"only out\n", b" \n", "only out"),
        (b"", b"", ""),
        (b"", b"\n".join(b"%d" % number for number in range(30)), "\n".join(str(number) for number in range(18, 30))),
    ],
    ids=["standard error first", "standard output else", "nothing", "the last twelve lines"],
)
def test_a_complaint_is_the_last_words(stdout: bytes, stderr: bytes, complaint: str) -> None:
    assert Result(command("x"), 1, stdout, stderr).complaint == complaint
