"""Registries: what a name stands for, what a refusal means, and that no token is left anywhere."""

import base64
import io
import json
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler

import pytest

from toolkit.host.fake import FakeHost
from toolkit.machine import registry, registry_ask
from toolkit.machine.registry import Image, Login, logged_in, look_up, name_of, registry_of, resolve
from toolkit.machine.registry_errors import refusal
from toolkit.words.command import Result
from toolkit.words.errors import RegistryError, Unreachable
from toolkit.words.values import Secret

DIGEST = "sha256:42f0213f3f14d1cd23f990dc52a0e2a813514afa4e7e6a70d8251e483877ec6c"
CANARY = "ghp_canary"
# Its base64 has a letter in which the URL-safe alphabet differs.
AWKWARD = "??>>~~"
LOGIN = Login("ghcr.io", "acme", Secret.of(CANARY))
# As an Engine 26.1 answered.
FOUND = [
    200,
    {
        "Descriptor": {
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "digest": DIGEST,
            "size": 527,
        },
        "Platforms": [
            {"architecture": "amd64", "os": "linux"},
            {"architecture": "arm", "os": "linux", "variant": "v7"},
        ],
    },
]
MISSING = [404, {"message": "manifest unknown: manifest unknown"}]


# Names


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("postgres:17", "docker.io"),
        ("bitnami/redis", "docker.io"),
        ("ghcr.io/acme/api:1.0.0", "ghcr.io"),
        ("localhost/api", "localhost"),
        ("registry:5000/api", "registry:5000"),
    ],
)
def test_the_first_word_is_a_registry_when_it_looks_like_a_host(reference: str, expected: str) -> None:
    assert registry_of(reference) == expected


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("postgres", "postgres"),
        ("postgres:17", "postgres"),
        ("registry:5000/api", "registry:5000/api"),
        ("registry:5000/api:2", "registry:5000/api"),
        (f"ghcr.io/acme/api:1@{DIGEST}", "ghcr.io/acme/api"),
    ],
)
def test_a_name_loses_its_tag_and_digest_but_not_its_port(reference: str, expected: str) -> None:
    assert name_of(reference) == expected


def test_a_pinned_image_is_its_name_and_digest() -> None:
    assert Image("ghcr.io/acme/api:1", DIGEST, ()).pinned == f"ghcr.io/acme/api@{DIGEST}"


# Refusals: the words are those of an Engine 26.1, of GHCR and of Docker Hub


@pytest.mark.parametrize(
    ("user", "status", "said", "message"),
    [
        (
            "acme",
            401,
            "unauthorized: authentication required",
            "ghcr.io refuses the token of acme, for ghcr.io/acme/api:1",
        ),
        (
            None,
            500,
            'Head "https://ghcr.io/v2/": no basic auth credentials',
            "ghcr.io wants a login for ghcr.io/acme/api:1",
        ),
        ("acme", 403, "denied: denied", "ghcr.io denies acme access to ghcr.io/acme/api:1"),
        ("acme", 500, "denied: permission_denied: read_package", "ghcr.io denies acme access to"),
        (
            "acme",
            404,
            "pull access denied for acme/api, repository does not exist",
            "ghcr.io has no ghcr.io/acme/api:1",
        ),
        ("acme", 404, "manifest unknown: manifest unknown", "ghcr.io has no ghcr.io/acme/api:1"),
        ("acme", 500, "name unknown: repository name not known to registry", "ghcr.io has no ghcr.io/acme/api:1"),
        (None, 429, "", "ghcr.io has no more answers for strangers just now"),
        (
            None,
            500,
            "toomanyrequests: You have reached your pull rate limit",
            "ghcr.io has no more answers for strangers",
        ),
        (
            "acme",
            500,
            "dial tcp: lookup ghcr.io: no such host",
            "web gets no answer from ghcr.io for ghcr.io/acme/api:1: dial",
        ),
        ("acme", 0, "no answer within 60 s", "web gets no answer from ghcr.io"),
        ("acme", 500, "tls: failed to verify certificate: x509: unknown authority", "web does not trust ghcr.io"),
    ],
)
def test_each_refusal_has_its_own_words_and_a_way_out(user: str | None, status: int, said: str, message: str) -> None:
    error = refusal("web", "ghcr.io/acme/api:1", "ghcr.io", user, status, said)
    assert error.message.startswith(message)
    assert error.hint
    assert error.exit_code == 17


def test_a_login_that_ghcr_denies_is_a_matter_of_the_token() -> None:
    error = refusal(
        "web", "", "ghcr.io", "acme", 0, "Error response from daemon: Get https://ghcr.io/v2/: denied: denied"
    )
    assert error.message == "ghcr.io refuses the token of acme, for the login to ghcr.io"


# Asking


def host(*answers: object) -> FakeHost:
    fake = FakeHost("web")
    fake.answer("python3", json.dumps(answers))
    return fake


def test_each_image_comes_back_with_its_digest_and_platforms() -> None:
    [image] = resolve(host(FOUND), ["ghcr.io/acme/api:1"]).values()
    assert image == Image("ghcr.io/acme/api:1", DIGEST, ("linux/amd64", "linux/arm/v7"))


def test_a_refusal_stands_beside_the_images_that_were_found() -> None:
    answers = look_up(host(FOUND, MISSING), ["postgres:17", "postgres:99"])
    assert isinstance(answers["postgres:17"], Image)
    assert isinstance(answers["postgres:99"], RegistryError)


def test_all_refusals_are_told_at_once() -> None:
    with pytest.raises(RegistryError) as caught:
        resolve(host(FOUND, MISSING, MISSING), ["a", "b", "c"])
    assert caught.value.message == "docker.io has no b\ndocker.io has no c"


def test_services_that_share_an_image_ask_once() -> None:
    fake = host(FOUND)
    resolve(fake, ["a", "a"])
    assert json.loads(fake.ran[0].input()) == [["a", None]]


def test_a_reference_cannot_say_more_than_a_name_in_the_request() -> None:
    fake = host(MISSING)
    look_up(fake, ["a b\r\nX-Evil: 1"])
    assert json.loads(fake.ran[0].input()) == [["a%20b%0D%0AX-Evil:%201", None]]


def test_more_images_than_are_asked_at_once_all_get_their_answers(monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.setattr(registry_ask, "SOCKET", str(tmp_path / "docker.sock"))
    account = {"username": "acme", "password": AWKWARD, "serveraddress": "ghcr.io"}
    found, missing = ("ghcr.io/acme/api:1", account), ("ghcr.io/acme/none:1", account)
    asked = [found if number % 3 else missing for number in range(registry_ask.AT_ONCE + 3)]
    with ApiServer(registry_ask.SOCKET, Api) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        answers = run_on_host(monkeypatch, capsys, asked)
        server.shutdown()
    assert answers == [FOUND if one is found else MISSING for one in asked]


def test_nothing_to_ask_reaches_no_host() -> None:
    assert resolve(FakeHost(), []) == {}


def test_only_the_registry_it_belongs_to_sees_a_login_and_only_by_standard_input() -> None:
    fake = host(FOUND, FOUND)
    look_up(fake, ["ghcr.io/acme/api:1", "postgres:17"], [LOGIN])
    [(_, ours), (_, hubs)] = json.loads(fake.ran[0].input())
    assert ours == {"username": "acme", "password": CANARY, "serveraddress": "ghcr.io"}
    assert hubs is None
    assert CANARY not in repr(fake.ran[0])
    assert CANARY not in fake.ran[0].line()


# The program that runs on the host, against a stand-in of the Engine's API


class Api(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = FOUND if self.path == "/distribution/ghcr.io/acme/api:1/json" else MISSING
        login = base64.urlsafe_b64decode(self.headers.get("X-Registry-Auth", "") or b"e30=")
        if json.loads(login).get("password") != AWKWARD:
            status, body = 401, {"message": "unauthorized"}
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def address_string(self) -> str:
        return "socket"

    def log_message(self, *words: object) -> None: ...


class ApiServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = registry_ask.AT_ONCE


def run_on_host(monkeypatch, capsys, images: list) -> list:
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(images)))
    registry_ask.main()
    return json.loads(capsys.readouterr().out)


def test_the_engine_is_asked_through_its_socket_with_the_login(monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.setattr(registry_ask, "SOCKET", str(tmp_path / "docker.sock"))
    account = {"username": "acme", "password": AWKWARD, "serveraddress": "ghcr.io"}
    with ApiServer(registry_ask.SOCKET, Api) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        asked = [("ghcr.io/acme/api:1", account), ("ghcr.io/acme/none:1", account), ("ghcr.io/acme/api:1", None)]
        answers = run_on_host(monkeypatch, capsys, asked)
        server.shutdown()
    assert answers == [FOUND, MISSING, [401, {"message": "unauthorized"}]]


def test_a_host_without_a_running_engine_says_so(monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.setattr(registry_ask, "SOCKET", str(tmp_path / "none.sock"))
    with pytest.raises(SystemExit, match="docker does not answer"):
        run_on_host(monkeypatch, capsys, [("postgres:17", None)])


# Logging in


def login_host(code: int = 0, stderr: str = "") -> FakeHost:
    fake = FakeHost("web")
    fake.programs["sh"] = lambda command: Result(command, 0, b"/run/toolkit/registry/Ab3\n")
    fake.answer("docker", code=code, stderr=stderr)
    return fake


def test_a_login_lives_in_a_folder_of_its_own_and_takes_the_token_by_standard_input() -> None:
    fake = login_host()
    with logged_in(fake, [LOGIN]) as store:
        assert store == "/run/toolkit/registry/Ab3"
    login = fake.ran[1]
    assert login.argv == (
        "docker", "--config", store, "login", "ghcr.io", "--username", "acme", "--password-stdin",
    )  # fmt: skip
    assert login.stdin == LOGIN.token
    assert CANARY not in str(fake.ran)


def test_docker_hub_has_an_account_server_of_its_own() -> None:
    assert Login("docker.io", "acme", LOGIN.token).server == "https://index.docker.io/v1/"


def closed(fake: FakeHost) -> bool:
    return registry.CLOSE_STORE in fake.ran[-1].argv


def test_the_login_is_removed_when_the_work_fails() -> None:
    fake = login_host()
    with pytest.raises(ValueError, match="the work"), logged_in(fake, [LOGIN]):
        raise ValueError("the work")
    assert closed(fake)


def test_a_refused_login_leaves_nothing_behind_and_never_shows_the_token() -> None:
    fake = login_host(1, "Error response from daemon: Get https://ghcr.io/v2/: unauthorized: authentication required")
    with pytest.raises(RegistryError, match=r"ghcr\.io refuses the token of acme") as caught, logged_in(fake, [LOGIN]):
        pass
    assert closed(fake)
    assert CANARY not in str(caught.value)


def test_a_lost_connection_is_told_as_such_because_the_host_sweeps_up_by_itself() -> None:
    fake = login_host()
    with pytest.raises(Unreachable, match="cut"), logged_in(fake, [LOGIN]):
        fake.cut = True
        raise Unreachable("cut")
    assert "systemd-run" in registry.OPEN_STORE
