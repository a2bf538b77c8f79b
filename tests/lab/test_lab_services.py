"""The lab's services: ghcr.io under its own name, a mirror of Docker Hub, real S3, and an apt repository."""

import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from toolkit.lab import Lab
from toolkit.lab.hosts import Vps
from toolkit.lab.images import publish
from toolkit.lab.services import GHCR_USER, S3
from toolkit.words.values import Secret

pytestmark = pytest.mark.lab

REFERENCE = "ghcr.io/acme/hello:1"


def ask(lab: Lab, path: str, user: str = "", token: Secret | None = None, method: str = "GET") -> tuple[int, bytes]:
    """Ask ghcr.io's door, from this machine."""
    request = urllib.request.Request(f"https://127.0.0.1:{lab.port('registry', 443)}{path}", method=method)
    if token is not None:
        request.add_header("Authorization", "Basic " + b64encode(f"{user}:".encode() + token.reveal()).decode())
    context = ssl.create_default_context(cadata=lab.home.authority().certificate.decode())
    # The certificate is ghcr.io's; this machine reaches the door by a port on loopback.
    context.check_hostname = False
    try:
        with urllib.request.urlopen(request, context=context) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An example with one tiny image under two names."""
    folder = tmp_path_factory.mktemp("example")
    context = folder / "images" / "hello"
    context.mkdir(parents=True)
    (context / "Dockerfile").write_text('ARG BASE\nFROM ${BASE}\nCOPY hello /hello\nCMD ["cat", "/hello"]\n')
    (context / "hello").write_text("hello\n")
    lines = [
        f"{REFERENCE}: {{context: hello, base: trixie}}",
        "docker.io/library/hello:1: {context: hello, base: trixie}",
    ]
    (folder / "images" / "images.yml").write_text("\n".join(lines) + "\n")
    return folder


def test_a_known_token_logs_in_and_a_wrong_one_does_not(lab: Lab, registry: str) -> None:
    assert ask(lab, "/v2/", GHCR_USER, lab.home.secret("ghcr-token"))[0] == 200
    assert ask(lab, "/v2/", GHCR_USER, Secret(b"wrong"))[0] == 401
    assert ask(lab, "/v2/")[0] == 401


def test_only_what_changed_is_published(lab: Lab, registry: str, example: Path) -> None:
    publish(lab, example)
    assert publish(lab, example) == []
    (example / "images" / "hello" / "hello").write_text("hello again\n")
    assert publish(lab, example) == [REFERENCE, "docker.io/library/hello:1"]


def test_a_token_without_the_scope_logs_in_and_is_denied(lab: Lab, registry: str, example: Path) -> None:
    publish(lab, example)
    path = "/v2/acme/hello/manifests/1"
    token = lab.home.secret("ghcr-token-noscope")
    assert ask(lab, "/v2/", "noscope", token)[0] == 200
    code, answer = ask(lab, path, "noscope", token)
    assert code == 403
    assert json.loads(answer)["errors"][0]["code"] == "DENIED"
    assert ask(lab, path, GHCR_USER, lab.home.secret("ghcr-token"))[0] == 200


def test_a_token_that_may_only_read_cannot_push(lab: Lab, registry: str, example: Path) -> None:
    publish(lab, example)
    token = lab.home.secret("ghcr-token-reader")
    assert ask(lab, "/v2/acme/hello/manifests/1", "reader", token)[0] == 200
    assert ask(lab, "/v2/acme/hello/blobs/uploads/", "reader", token, method="POST")[0] == 403
    assert ask(lab, "/v2/acme/hello/blobs/uploads/", GHCR_USER, lab.home.secret("ghcr-token"), method="POST")[0] == 202


def test_the_mirror_of_docker_hub_gives_and_does_not_take(lab: Lab, registry: str, example: Path) -> None:
    publish(lab, example)
    door = f"http://127.0.0.1:{lab.port('registry', 5000)}/v2/library/hello"
    with urllib.request.urlopen(f"{door}/manifests/1") as answer:
        assert answer.status == 200
    upload = urllib.request.Request(f"{door}/blobs/uploads/", method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(upload)
    assert caught.value.code == 403


def test_a_host_pulls_by_the_real_names(lab: Lab, registry: str, example: Path, vps: Vps) -> None:
    publish(lab, example)
    mirrors = json.dumps({"registry-mirrors": [f"http://{registry}:5000"]})
    text = f"""
    set -e
    sudo install -d /etc/docker
    echo '{mirrors}' | sudo tee /etc/docker/daemon.json >/dev/null
    sudo apt-get update -qq
    sudo apt-get install -y -qq --no-install-recommends docker.io docker-cli >/dev/null 2>&1
    sudo docker login ghcr.io --username {GHCR_USER} --password-stdin >/dev/null 2>&1
    sudo docker run --rm --network none {REFERENCE}
    sudo docker run --rm --network none hello:1
    """
    token = lab.home.secret("ghcr-token").reveal()
    done = subprocess.run(lab.ssh_command(vps, text), input=token, capture_output=True, timeout=180)
    assert done.stdout.decode().split() == (example / "images" / "hello" / "hello").read_text().split() * 2, done.stderr


def test_an_outage_of_the_registry_ends_with_what_it_had(lab: Lab, registry: str, example: Path) -> None:
    publish(lab, example)
    lab.stop_service("registry")
    with pytest.raises(OSError):
        ask(lab, "/v2/")
    lab.start_service("registry")
    assert ask(lab, "/v2/acme/hello/manifests/1", GHCR_USER, lab.home.secret("ghcr-token"))[0] == 200


def client(s3: S3, user: tuple[str, Secret], endpoint: str = "", ca: Path | None = None):
    return boto3.client(
        "s3",
        endpoint_url=endpoint or s3.endpoint,
        aws_access_key_id=user[0],
        aws_secret_access_key=user[1].reveal().decode(),
        region_name="us-east-1",
        config=Config(retries={"max_attempts": 1}),
        verify=str(ca) if ca else None,
    )


@pytest.fixture
def bucket(s3: S3) -> Iterator[str]:
    """A bucket of operator's in which host may put and list, and nothing else."""
    operator, name = client(s3, s3.operator), f"bucket-{time.time_ns()}"
    operator.create_bucket(Bucket=name)
    host, owner = {"AWS": ["arn:aws:iam:::user/host"]}, {"AWS": ["arn:aws:iam:::user/operator"]}
    things = [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]
    statements = [
        {"Effect": "Allow", "Principal": host, "Action": ["s3:PutObject", "s3:ListBucket"], "Resource": things},
        # Who puts an object owns it: without this line the bucket's owner could not read it.
        {"Effect": "Allow", "Principal": owner, "Action": ["s3:*"], "Resource": things},
        {"Effect": "Deny", "Principal": host, "Action": ["s3:GetObject", "s3:DeleteObject"], "Resource": things},
    ]
    policy = {"Version": "2012-10-17", "Statement": statements}
    operator.put_bucket_policy(Bucket=name, Policy=json.dumps(policy))
    yield name
    for entry in operator.list_objects_v2(Bucket=name).get("Contents", []):
        operator.delete_object(Bucket=name, Key=entry["Key"])
    operator.delete_bucket(Bucket=name)


def refused(call, code: str = "AccessDenied", **arguments: str) -> None:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] == code


def test_a_user_that_may_only_put_can_neither_read_nor_delete(s3: S3, bucket: str) -> None:
    host, operator = client(s3, s3.host), client(s3, s3.operator)
    host.put_object(Bucket=bucket, Key="pack", Body=b"sealed")
    assert [entry["Key"] for entry in host.list_objects_v2(Bucket=bucket)["Contents"]] == ["pack"]
    refused(host.get_object, Bucket=bucket, Key="pack")
    refused(host.delete_object, Bucket=bucket, Key="pack")
    refused(host.delete_bucket, Bucket=bucket)
    assert operator.get_object(Bucket=bucket, Key="pack")["Body"].read() == b"sealed"


def test_a_wrong_secret_is_refused(s3: S3, bucket: str) -> None:
    wrong = client(s3, (s3.operator[0], Secret(b"wrong")))
    refused(wrong.list_objects_v2, code="SignatureDoesNotMatch", Bucket=bucket)


def test_a_conditional_put_does_not_overwrite(s3: S3, bucket: str) -> None:
    operator = client(s3, s3.operator)
    operator.put_object(Bucket=bucket, Key="pack", Body=b"first", IfNoneMatch="*")
    refused(operator.put_object, code="PreconditionFailed", Bucket=bucket, Key="pack", Body=b"second", IfNoneMatch="*")


def test_s3_answers_over_tls_to_those_who_trust_the_labs_authority(s3: S3, bucket: str, tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_bytes(s3.ca)
    assert client(s3, s3.operator, s3.tls, ca).list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_s3_finds_its_objects_again_after_a_restart(lab: Lab, s3: S3, bucket: str) -> None:
    operator = client(s3, s3.operator)
    operator.put_object(Bucket=bucket, Key="pack", Body=b"kept")
    lab.stop_service("s3")
    lab.start_service("s3")
    assert lab.s3() == s3
    assert operator.get_object(Bucket=bucket, Key="pack")["Body"].read() == b"kept"


def test_s3_survives_a_machine_that_dies(lab: Lab, s3: S3, bucket: str) -> None:
    operator = client(s3, s3.operator)
    operator.put_object(Bucket=bucket, Key="pack", Body=b"kept")
    lab.engine.run("kill", lab.home.name("s3"))
    lab.start_service("s3")
    assert operator.get_object(Bucket=bucket, Key="pack")["Body"].read() == b"kept"


def test_the_apt_repository_offers_dockers_names_signed(lab: Lab, apt_repository: str, vps: Vps) -> None:
    text = f"""
    set -e
    curl -fsS {apt_repository}/gpg | sudo tee /etc/apt/keyrings/docker.asc >/dev/null
    echo 'deb [signed-by=/etc/apt/keyrings/docker.asc] {apt_repository} trixie stable' \
      | sudo tee /etc/apt/sources.list.d/docker.list >/dev/null
    sudo apt-get update -qq
    sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      docker-ce=5:27.5.1* docker-ce-cli containerd.io docker-compose-plugin docker-buildx-plugin >/dev/null 2>&1
    systemctl is-active docker
    docker compose version --short
    dpkg-query --show --showformat '${{Version}}' docker-ce
    """
    done = subprocess.run(lab.ssh_command(vps, text), capture_output=True, timeout=180, text=True)
    assert done.stdout.split() == ["active", "2.26.1-4", "5:27.5.1-1~debian.13~trixie"], done.stderr


def test_the_apt_repository_is_not_believed_without_its_key(lab: Lab, apt_repository: str, vps: Vps) -> None:
    text = f"""
    echo 'deb {apt_repository} trixie stable' | sudo tee /etc/apt/sources.list.d/docker.list >/dev/null
    sudo apt-get update 2>&1; sudo apt-get install -y docker-ce 2>&1
    """
    done = subprocess.run(lab.ssh_command(vps, text), capture_output=True, timeout=120, text=True)
    assert done.returncode != 0
    assert "not signed" in done.stdout
