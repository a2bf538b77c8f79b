"""What every host must do, whatever carries it. One suite runs over the fake, this machine, and SSH in the lab."""

import pytest

from toolkit.host import File, Host
from toolkit.words.command import command, script
from toolkit.words.errors import HostError
from toolkit.words.values import Secret


class HostContract:
    """Subclasses provide `host` and `folder`, a place on it to write to."""

    def test_a_command_leaves_its_output_and_its_code(self, host: Host) -> None:
        result = host.run(script("printf out; printf err >&2; exit 3"), check=False)
        assert (result.stdout, result.stderr, result.code) == (b"out", b"err", 3)

    def test_output_comes_back_to_the_byte(self, host: Host) -> None:
        assert host.run(command("printf", r"a\0b\n\n")).stdout == b"a\0b\n\n"

    def test_a_failed_command_is_an_error_that_carries_its_last_words(self, host: Host) -> None:
        with pytest.raises(HostError, match="no such thing") as caught:
            host.run(script("echo no such thing >&2; exit 9"))
        assert "exit code 9" in caught.value.message
        assert caught.value.hint

    def test_input_reaches_the_command_and_only_that_command(self, host: Host) -> None:
        assert host.run(command("cat", stdin=b"one\0two\n")).stdout == b"one\0two\n"
        assert host.run(command("cat")).stdout == b""

    def test_input_that_nobody_reads_does_not_reach_the_next_command(self, host: Host) -> None:
        host.run(command("true", stdin=b"exit 7\n" * 50_000))
        assert host.run(command("printf", "still here")).text == "still here"

    def test_arguments_are_never_shell(self, host: Host) -> None:
        hostile = "$(touch /tmp/x) `id` '; exit 1 #\n\"*"
        assert host.run(command("printf", "%s", hostile)).text == hostile

    def test_an_environment_reaches_the_command(self, host: Host) -> None:
        assert host.run(command("printenv", "COLOUR", env={"COLOUR": "dark red"})).text == "dark red\n"

    def test_a_follower_hears_every_line(self, host: Host) -> None:
        heard: list[str] = []
        host.run(script("echo first; echo; echo third"), follow=heard.append)
        assert heard == ["first", "", "third"]

    def test_a_secret_given_as_input_arrives(self, host: Host) -> None:
        assert host.run(command("cat", stdin=Secret.of("hunter2"))).text == "hunter2"

    def test_files_sent_are_there_with_their_modes(self, host: Host, folder: str) -> None:
        host.send([File(f"{folder}/new/a", b"\0bin\n", 0o640), File(f"{folder}/b", Secret.of("s"), 0o600)])
        assert host.fetch(f"{folder}/new/a") == b"\0bin\n"
        assert host.fetch(f"{folder}/b") == b"s"

    def test_a_file_sent_again_is_replaced(self, host: Host, folder: str) -> None:
        host.send([File(f"{folder}/c", b"old")])
        host.send([File(f"{folder}/c", b"new")])
        assert host.fetch(f"{folder}/c") == b"new"

    def test_a_missing_file_is_an_error_that_names_it(self, host: Host, folder: str) -> None:
        with pytest.raises(HostError, match=f"{folder}/nothing"):
            host.fetch(f"{folder}/nothing")

    def test_a_stream_carries_bytes_both_ways(self, host: Host) -> None:
        process = host.open(command("cat"))
        process.write(bytes(range(256)) * 400)
        process.finish()
        received = b""
        while chunk := process.read()[0]:
            received += chunk
        assert received == bytes(range(256)) * 400
        assert process.wait() == 0
        process.close()

    def test_a_second_login_is_proven(self, host: Host) -> None:
        host.prove_login()
