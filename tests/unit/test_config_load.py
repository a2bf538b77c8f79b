import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from toolkit.config.document import LARGEST_TEXT
from toolkit.config.load import find_root, load, named, names
from toolkit.config.models import Connection, DockerRepository, HostFile
from toolkit.config.values import Port
from toolkit.words.errors import ConfigError
from toolkit.words.values import Duration, Size

ROOT = Path(__file__).parents[2]


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    (tmp_path / "hosts").mkdir()
    return tmp_path / "hosts"


def loaded(hosts: Path, text: str) -> HostFile:
    (hosts / "web.yml").write_text(text)
    return load(hosts / "web.yml")


def machine(hosts: Path, text: str) -> HostFile:
    return loaded(hosts, f"connection: local\nmachine:\n{text}")


@pytest.mark.parametrize("path", sorted((ROOT / "hosts").glob("example*.yml")), ids=lambda path: path.stem)
def test_the_example_files_are_sound_and_name_the_schema(path: Path) -> None:
    assert load(path).name == path.stem
    assert path.read_text().startswith("# yaml-language-server: $schema=../docs/host.schema.json\n")


def test_the_example_shows_every_key_of_every_part() -> None:
    host = load(ROOT / "hosts" / "example.yml")
    assert isinstance(host.connection, Connection)
    shown = [host.connection, host.machine, *host.registries, host.stack, *host.machine.users]
    shown += [host.watchdog, *host.notify]
    parts = [part for part in [*shown, *vars(host.machine).values()] if hasattr(part, "model_fields_set")]
    hidden = {f"{type(part).__name__}.{key}" for part in parts for key in set(vars(part)) - part.model_fields_set}
    # The engine of another suite is for `distro` only.
    assert hidden == {"Docker.suite"}


def test_values_arrive_as_what_they_mean() -> None:
    host = load(ROOT / "hosts" / "example.yml")
    assert host.root == ROOT
    assert host.machine.firewall is not None
    assert host.machine.firewall.open == (Port(80), Port(443), Port(51820, "udp"))
    assert host.machine.swap is not None
    assert host.machine.swap.size == Size(2_000_000_000)
    assert host.machine.sshd is not None
    assert host.machine.sshd.settings == {"X11Forwarding": "no", "ClientAliveInterval": "30"}
    assert host.stack is not None
    assert host.stack.ready_within == Duration(300)
    assert host.machine.sysctl == {"vm.swappiness": "10"}


def test_a_part_that_is_turned_off_is_none(hosts: Path) -> None:
    off = machine(hosts, "  docker: false\n  sysctl: false\n").machine
    assert off.docker is None
    assert off.sysctl is None
    assert off.sshd is not None


def test_a_key_with_nothing_behind_it_has_its_default(hosts: Path) -> None:
    said = machine(hosts, "  docker:\n    # version: 28\n  firewall: true\n  packages:\n")
    assert said == machine(hosts, "  {}\n")
    assert said.machine.docker is not None


def test_local_needs_no_address(hosts: Path) -> None:
    assert loaded(hosts, "connection: local\n").connection == "local"


def test_a_repository_of_ones_own_keeps_its_defaults(hosts: Path) -> None:
    key = "-----BEGIN PGP PUBLIC KEY BLOCK-----\\nabc\\n"
    docker = machine(hosts, f'  docker: {{source: {{url: https://mirror.example/d, key: "{key}"}}}}\n').machine.docker
    assert docker is not None
    assert isinstance(docker.source, DockerRepository)
    assert (docker.source.suite, docker.source.component) == (None, "stable")


def test_yaml_that_older_parsers_misread_means_what_it_says(hosts: Path) -> None:
    told = machine(hosts, "  sshd: {root_login: no}\n  updates: {reboot_at: 22:22}\n").machine
    assert told.sshd is not None
    assert told.sshd.root_login == "no"
    assert told.updates is not None
    assert told.updates.reboot_at == "22:22"


def test_variables_keep_the_spelling_of_numbers(hosts: Path) -> None:
    (hosts.parent / "compose.yaml").touch()
    text = "connection: local\nstack: {name: a, directory: ., variables: {A: 3000, B: 007, C: 0o22, D: 1_0}}\n"
    stack = loaded(hosts, text).stack
    assert stack is not None
    assert stack.variables == {"A": "3000", "B": "007", "C": "0o22", "D": "1_0"}


def test_an_alias_repeats_what_it_names(hosts: Path) -> None:
    users = machine(hosts, "  users:\n    - &ann {name: ann}\n  packages: [&p htop, *p]\n").machine
    assert users.packages == ("htop", "htop")


def test_further_daemon_keys_compare_equal_to_what_json_gives_back(hosts: Path) -> None:
    docker = machine(hosts, "  docker: {daemon: {dns: [9.9.9.9], log-opts: {labels: [a]}}}\n").machine.docker
    assert docker is not None
    assert docker.daemon == {"dns": ["9.9.9.9"], "log-opts": {"labels": ["a"]}}


def test_loaded_values_cannot_be_changed(hosts: Path) -> None:
    host = loaded(hosts, "connection: local\n")
    with pytest.raises(ValueError, match="frozen"):
        host.machine.packages = ("htop",)


@pytest.mark.parametrize("allowed", ["admin", "adm*", "admin@10.0.0.*", "'*'"])
def test_a_user_who_is_allowed_is_not_locked_out(hosts: Path, allowed: str) -> None:
    text = "connection: {address: a.example, user: admin}\nmachine: {sshd: {allow_users: [ann, %s]}}\n"
    assert loaded(hosts, text % allowed).machine.sshd is not None


def test_root_may_connect_where_keys_are_allowed_for_root(hosts: Path) -> None:
    text = "connection: {address: a.example, user: root}\nmachine: {sshd: {root_login: prohibit-password}}\n"
    assert loaded(hosts, text).machine.sshd is not None


def test_a_missing_file_is_named_with_what_is_there(hosts: Path) -> None:
    for name in ("prod", "staging"):
        (hosts / f"{name}.yml").touch()
    with pytest.raises(ConfigError, match=r"there is no hosts/prdo\.yml") as caught:
        named(hosts.parent, "prdo")
    assert caught.value.hint == "did you mean prod? there are: prod, staging"


def test_the_first_missing_file_says_where_to_begin(hosts: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        named(hosts.parent, "prod")
    assert "hosts/example.yml" in caught.value.hint


@pytest.mark.parametrize("name", ["../prod", "a/b", "..", ".", "", "prod.yml", "-x", "a\nb", "/etc/passwd", "a\0"])
def test_a_host_name_with_a_path_in_it_is_refused(hosts: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="not the name of a host"):
        named(hosts.parent, name)


def test_hosts_are_listed_by_name(hosts: Path) -> None:
    for name in ("b.yml", "a.yml", "notes.txt"):
        (hosts / name).touch()
    assert names(hosts.parent) == ["a", "b"]


def test_the_root_is_found_from_any_folder_below_it(hosts: Path) -> None:
    deep = hosts.parent / "examples" / "deep"
    deep.mkdir(parents=True)
    assert find_root(deep) == hosts.parent.resolve()


def test_a_place_without_hosts_is_said_so() -> None:
    with pytest.raises(ConfigError, match="no folder hosts/"):
        find_root(Path("/proc/self"))


def test_a_file_that_is_too_large_is_not_read(hosts: Path) -> None:
    with pytest.raises(ConfigError, match="larger than 256 KiB"):
        loaded(hosts, "#" * (LARGEST_TEXT + 10))


@pytest.mark.parametrize("content", [b"a: \xff", b"a: \x00", b"\x1b[2J", b"a: \xed\xa0\x80"])
def test_bytes_that_are_no_text_are_refused(hosts: Path, content: bytes) -> None:
    (hosts / "web.yml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"hosts/web\.yml"):
        load(hosts / "web.yml")


def test_a_folder_in_the_place_of_a_file_is_refused(hosts: Path) -> None:
    (hosts / "web.yml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load(hosts / "web.yml")


def test_loading_runs_no_provider(hosts: Path) -> None:
    told = 'registries: [{host: ghcr.io, user: a, token: "command:touch ran"}]\n'
    loaded(hosts, f"connection: local\n{told}")
    assert not list(hosts.parent.rglob("ran"))


WORDS = st.sampled_from(
    [
        "connection",
        "machine",
        "docker",
        "sshd",
        "users",
        "stack",
        "files",
        "name",
        "keys",
        "-",
        ":",
        "[",
        "]",
        "{",
        "}",
        ",",
        "&",
        "*",
        "a",
        "!!",
        "?",
        "|",
        ">",
        "'",
        '"',
        "#",
        "no",
        "true",
        "1",
        "22:22",
        "~",
        "local",
        "daemon",
        "settings",
        "firewall",
        "open",
        "80",
        "variables",
        "<<",
        "*a",
        "&a\n",
        "\n\n",
        "\t",
        "%",
        "@",
        "`",
    ]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(WORDS, max_size=40).map(" ".join) | st.text(max_size=80))
@example(text="[" * 5000)
@example(text="a: " * 5000)
@example(text="- " * 5000)
def test_any_text_is_loaded_or_refused_and_nothing_else(hosts: Path, text: str) -> None:
    (hosts / "web.yml").write_bytes(text.encode(errors="surrogatepass"))
    try:
        load(hosts / "web.yml")
    except ConfigError as error:
        assert error.hint


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner))
PLACES = st.sampled_from(
    [
        "connection",
        "machine",
        "machine.docker",
        "machine.docker.source",
        "machine.docker.daemon",
        "machine.docker.log_max_size",
        "machine.sshd",
        "machine.sshd.settings",
        "machine.firewall.open",
        "machine.sysctl",
        "machine.users",
        "machine.swap.size",
        "registries",
        "machine.time.timezone",
        "stack",
        "stack.directory",
        "stack.files",
        "stack.variables",
        "stack.scale",
        "stack.ready_within",
    ]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=PLACES, value=TREES)
@example(place="stack.ready_within", value="9" * 400)
def test_any_value_in_any_place_is_loaded_or_refused(hosts: Path, place: str, value: object) -> None:
    whole: dict[str, object] = {"connection": "local", "stack": {"name": "a", "directory": "."}}
    *outer, last = place.split(".")
    inside: Any = whole
    for key in outer:
        inside = inside.setdefault(key, {})
    inside[last] = value
    (hosts / "web.yml").write_text(json.dumps(whole, ensure_ascii=False))
    try:
        load(hosts / "web.yml")
    except ConfigError as error:
        assert error.message.startswith("hosts/web.yml:")


def test_a_sound_file_is_loaded_without_the_machinery_of_json_schema() -> None:
    program = "import sys; from toolkit.config.load import load; print('toolkit.config.schema' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True, text=True)
    assert told.stdout.strip() == "False"
