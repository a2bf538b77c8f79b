"""A repository on a real server: with the host's own credentials in, with the operator's out."""

import json
import secrets
import subprocess
import venv
from pathlib import Path

import pytest

from tests.repository_setup import OPERATOR, Host, look, rich_tree
from toolkit.lab.services import S3
from toolkit.repository import Terms, recover, restore
from toolkit.repository.policy import as_json, bucket_policy, host_policy
from toolkit.repository.verify import verify, verify_hashes
from toolkit.store import Credentials
from toolkit.store.s3 import S3Place, S3Store
from toolkit.words.errors import Denied
from toolkit.words.values import Duration

pytestmark = pytest.mark.lab

PRINCIPAL, OWNER = "arn:aws:iam:::user/host", "arn:aws:iam:::user/operator"


@pytest.fixture
def sides(s3: S3) -> tuple[S3Store, S3Store]:
    """A locked bucket with our policy, as its owner and as the host see it."""
    place = S3Place(bucket=f"test-{secrets.token_hex(6)}", prefix="site", endpoint=s3.endpoint)
    owner = S3Store(place, Credentials(*s3.operator))
    owner.ask_bucket("create_bucket", ObjectLockEnabledForBucket=True)
    policy = host_policy(place.bucket, "site", "prod", principal=PRINCIPAL)
    owner.bucket.set_policy(as_json(bucket_policy(place.bucket, [policy], owner=OWNER)))
    return owner, S3Store(place, Credentials(*s3.host))


def test_a_host_writes_what_it_can_neither_read_nor_delete_and_the_operator_restores(
    sides: tuple[S3Store, S3Store], tmp_path: Path
) -> None:
    owner, hosts = sides
    (tmp_path / "tree").mkdir()
    rich_tree(tmp_path / "tree")
    terms = Terms(length=Duration.parse("1d"), lock_for=Duration.parse("1d"))
    host = Host(tmp_path / "state", hosts, terms=terms)
    host.backup(tmp_path / "tree")
    before = {info.key for info in owner.list()}
    assert host.backup(tmp_path / "tree").stored == 0
    assert len({info.key for info in owner.list()} - before) == 1
    for key in before:
        with pytest.raises(Denied):
            hosts.get(key)
        with pytest.raises(Denied):
            hosts.delete(key)
        # Locked: not even the owner deletes a version of it before its time.
        for info in owner.versions(key):
            with pytest.raises(Denied):
                owner.delete(key, version=info.version)
    repository = host.repository(owner)
    assert verify(repository).sound
    assert verify_hashes(owner, "prod").sound
    restore(repository.newest(), tmp_path / "out")
    assert look(tmp_path / "out" / "data") == look(tmp_path / "tree")


def test_a_copy_of_the_bucket_is_all_that_the_one_file_reader_needs(
    sides: tuple[S3Store, S3Store], tmp_path: Path
) -> None:
    owner, hosts = sides
    (tmp_path / "tree").mkdir()
    rich_tree(tmp_path / "tree")
    host = Host(tmp_path / "state", hosts)
    host.backup(tmp_path / "tree")
    for info in owner.list():
        path = tmp_path / "copy" / info.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(owner.get(info.key))
    (tmp_path / "key").write_bytes(OPERATOR.reveal() + b"\n")
    public = json.loads((tmp_path / "copy/prod/host.json").read_text())
    assert public["signing_key"] == str(host.pin().signing_key)
    asked = ["-i", tmp_path / "key", "--signing-key", public["signing_key"], tmp_path / "copy", "restore", "latest"]
    venv.create(tmp_path / "bare", with_pip=False)
    program = [tmp_path / "bare" / "bin" / "python", "-I", recover.__file__, *asked, tmp_path / "out"]
    subprocess.run(list(map(str, program)), check=True, capture_output=True)
    assert look(tmp_path / "out" / "data") == look(tmp_path / "tree")
