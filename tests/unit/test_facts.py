"""Facts: asked for together, read to the byte, and never mistaken for each other."""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.converge import Fact, Facts, Together, Unknown, Unreadable
from toolkit.host.fake import FakeHost
from toolkit.host.local import LocalHost
from toolkit.words.command import Command, Result, command, script
from toolkit.words.errors import HostError
from toolkit.words.values import Secret


def nobody() -> Secret:
    raise AssertionError("no password is needed here")


@pytest.fixture(scope="module")
def machine() -> Iterator[LocalHost]:
    host = LocalHost("here", nobody)
    yield host
    host.close()


@pytest.fixture
def facts(machine: LocalHost) -> Facts:
    return Facts(machine)


def raw(name: str, text: str, *arguments: str, stdin: bytes | None = None) -> Fact[str]:
    return Fact(name, script(text, *arguments, stdin=stdin), str)


def read(facts: Facts, fact: Fact[str]) -> str:
    facts.ask([fact])
    return facts.get(fact)


def test_what_was_not_read_is_unknown_and_names_itself(facts: Facts) -> None:
    fact = raw("kernel", "uname -r")
    with pytest.raises(Unknown, match="kernel") as caught:
        facts.get(fact)
    assert caught.value.facts == (fact,)


def test_several_needs_are_one_unknown(facts: Facts) -> None:
    known, one, other = (raw(name, "true") for name in ("known", "one", "other"))
    facts.ask([known])
    with pytest.raises(Unknown) as caught:
        facts.need(known, one, other)
    assert caught.value.facts == (one, other)
    facts.ask(caught.value.facts)
    facts.need(known, one, other)


def test_many_facts_are_one_round_trip_and_each_gets_its_own_output(facts: Facts) -> None:
    many = [raw(f"number {number}", 'printf "%s" "$1"', str(number)) for number in range(40)]
    facts.ask(many)
    assert [facts.get(fact) for fact in many] == [str(number) for number in range(40)]
    assert facts.round_trips == 1


def test_a_fact_asked_for_twice_is_read_once() -> None:
    host = FakeHost(programs={"sh": lambda given: framed(given, b"x")})
    fact = raw("same", "echo x")
    Facts(host).ask([fact, raw("same", "echo x")])
    assert host.ran[0].input().count(b"echo x") == 1


def framed(given: Command, output: bytes) -> Result:
    """Answer a batch of one fact the way the far side frames it."""
    mark = given.input().rsplit(b"\\n", 2)[-2].removesuffix(b".")
    return Result(given, 0, output + b"\n" + mark + b" 0 0\n\n" + mark + b".\n")


LINES = Together(
    lambda commands: command("printf", r"%s\n", *(one.argv[-1] for one in commands)),
    lambda output: output.split(b"\n")[:-1],
)


def line(text: str, together: Together = LINES) -> Fact[str]:
    return Fact(f"line {text}", command("printf", r"%s\n", text), str.strip, together)


def test_facts_that_belong_together_are_asked_with_one_command_and_each_gets_its_part(facts: Facts) -> None:
    asked: list[Command] = []

    def join(commands: Sequence[Command]) -> Command:
        asked.append(LINES.join(commands))
        return asked[-1]

    kind = Together(join, LINES.part)
    one, between, other = line("one", kind), raw("between", "echo between"), line("other", kind)
    facts.ask([one, between, other])
    assert [facts.get(fact) for fact in (one, between, other)] == ["one", "between\n", "other"]
    assert [one.argv[2:] for one in asked] == [("one", "other")]


def test_a_fact_that_stands_alone_is_asked_with_its_own_command(facts: Facts) -> None:
    assert read(facts, line("alone", Together(lambda _: command("false"), lambda _: []))) == "alone"


def test_where_one_command_could_not_look_none_of_its_facts_is_known(facts: Facts) -> None:
    broken = Together(lambda _: script("echo no bus >&2; exit 3"), LINES.part)
    facts.ask([line("one", broken), line("other", broken)])
    for text in ("one", "other"):
        with pytest.raises(Unreadable, match=f"line {text}: no bus"):
            facts.get(line(text))


def test_answers_that_do_not_fit_the_questions_are_given_to_nobody(facts: Facts) -> None:
    short = Together(lambda _: command("echo", "only one"), LINES.part)
    facts.ask([line("one", short), line("other", short)])
    for text in ("one", "other"):
        with pytest.raises(Unreadable, match="1 answers to 2 questions"):
            facts.get(line(text))


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("printf 'no end'", "no end"),
        ("echo end", "end\n"),
        (r"printf 'a\n\n\n'", "a\n\n\n"),
        (r"printf '\n\n'", "\n\n"),
        ("true", ""),
        (r"printf 'a\0b'", "a\0b"),
        (r"printf '\377'", "\N{REPLACEMENT CHARACTER}"),
        ("echo 'ÄÖ €'", "ÄÖ €\n"),
        ("echo out; echo err >&2", "out\n"),
    ],
)
def test_output_comes_back_to_the_byte(facts: Facts, text: str, output: str) -> None:
    assert read(facts, raw("odd", text)) == output


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])), min_size=1, max_size=4))
def test_any_outputs_side_by_side_stay_apart(machine: LocalHost, outputs: list[str]) -> None:
    facts = Facts(machine)
    asked = [raw(f"text {index}", 'printf "%s" "$1"', text) for index, text in enumerate(outputs)]
    facts.ask(asked)
    assert [facts.get(fact) for fact in asked] == outputs


def test_the_mark_of_the_framing_inside_an_output_confuses_nothing(
    facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.converge.facts.secrets", SimpleNamespace(token_hex=lambda _: "feedfacefeedface"))
    sly = raw("sly", r"printf 'before\nfeedfacefeedface 9 9\nafter'")
    plain = raw("plain", "echo plain")
    facts.ask([sly, plain])
    assert facts.get(sly) == "before\nfeedfacefeedface 9 9\nafter"
    assert facts.get(plain) == "plain\n"


def test_every_batch_has_a_mark_of_its_own() -> None:
    host = FakeHost(programs={"sh": lambda given: framed(given, b"")})
    facts = Facts(host)
    facts.ask([raw("one", "true")])
    facts.ask([raw("one", "true")])
    assert host.ran[0].input() != host.ran[1].input()


def test_a_large_output_and_a_large_complaint_both_arrive(facts: Facts) -> None:
    loud = raw("loud", "head -c 300000 /dev/zero | tr '\\0' o; head -c 300000 /dev/zero | tr '\\0' e >&2; exit 4")
    quiet = raw("quiet", "echo quiet")
    facts.ask([loud, quiet])
    assert facts.get(quiet) == "quiet\n"
    with pytest.raises(Unreadable, match="eeee"):
        facts.get(loud)


def test_a_large_output_is_whole(facts: Facts) -> None:
    assert len(read(facts, raw("large", "head -c 2000000 /dev/zero | tr '\\0' x"))) == 2_000_000


def test_a_command_that_could_not_look_is_unreadable_and_says_why(facts: Facts) -> None:
    fact = raw("units", "echo no bus >&2; exit 1")
    with pytest.raises(Unreadable, match="here: cannot read units: no bus") as caught:
        read(facts, fact)
    assert "echo no bus" in caught.value.hint


@pytest.mark.parametrize(("text", "said"), [("exit 3", "exit code 3"), ("kill -9 $$", "exit code 137|Killed")])
def test_a_command_that_ends_without_a_word_is_told_by_its_code(facts: Facts, text: str, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        read(facts, raw("silent", text))


def test_a_missing_program_is_unreadable_and_the_rest_of_the_batch_is_not(facts: Facts) -> None:
    missing = Fact("missing", command("no-such-program-4711"), str)
    there = raw("there", "echo there")
    facts.ask([missing, there])
    assert facts.get(there) == "there\n"
    with pytest.raises(Unreadable, match="not found"):
        facts.get(missing)


def test_absent_is_a_value_and_not_a_failure(facts: Facts) -> None:
    lines: Fact[list[str]] = Fact("lines", script("true"), str.splitlines)
    facts.ask([lines])
    assert facts.get(lines) == []


@pytest.mark.parametrize("error", [ValueError, IndexError, KeyError, TypeError])
def test_output_that_makes_no_sense_is_unreadable_and_quoted(facts: Facts, error: type[Exception]) -> None:
    def refuse(text: str) -> int:
        raise error(text)

    fact = Fact("load", script("echo much"), refuse)
    facts.ask([fact])
    with pytest.raises(Unreadable, match=r"load makes no sense: 'much\\n'") as caught:
        facts.get(fact)
    assert isinstance(caught.value.__cause__, error)


def test_facts_cannot_read_each_others_input(facts: Facts) -> None:
    greedy, fed = raw("greedy", "cat"), raw("fed", "cat", stdin=b"it's mine\n")
    # So much that the far shell has not read the rest of the batch when the greedy one looks for input.
    after = raw("after", 'printf %s "$1"', "x" * 100_000)
    facts.ask([greedy, fed, after])
    assert [facts.get(fact) for fact in (greedy, fed, after)] == ["", "it's mine\n", "x" * 100_000]


def test_a_command_that_leaves_its_shell_does_not_end_the_batch(facts: Facts) -> None:
    leaving, after = Fact("leaving", command("exit", "5"), str), raw("after", "echo after")
    facts.ask([leaving, after])
    assert facts.get(after) == "after\n"


def test_what_is_forgotten_is_unknown_again(facts: Facts) -> None:
    fact = raw("time", "date +%s%N")
    before = read(facts, fact)
    facts.forget()
    with pytest.raises(Unknown):
        facts.get(fact)
    assert read(facts, fact) != before
    assert facts.round_trips == 2


def test_the_same_command_under_the_same_name_is_the_same_fact() -> None:
    assert Fact("swap", command("swapon"), str.strip) == Fact("swap", command("swapon"), str.lower)
    assert Fact("swap", command("swapon"), str) != Fact("swap", command("swapon", "--all"), str)


def test_a_host_that_breaks_the_batch_is_an_error_of_that_host() -> None:
    host = FakeHost()
    host.answer("sh", code=2, stderr="out of memory")
    with pytest.raises(HostError, match="out of memory"):
        Facts(host).ask([raw("any", "true")])
