import json
import os
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from toolkit.crypto import age
from toolkit.lab.services import S3
from toolkit.repository import Options, Origin, Pin, Repository, Terms, Tree, backup, restore
from toolkit.repository.audit import audit
from toolkit.repository.init import Wishes, init
from toolkit.repository.policy import as_json, bucket_policy, host_policy
from toolkit.store import Credentials
from toolkit.store.s3 import S3Place, S3Store
from toolkit.words.clock import SystemClock
from toolkit.words.errors import Denied, RepositoryError
from toolkit.words.report import Silent
from toolkit.words.values import Duration, Secret

pytestmark = pytest.mark.lab

PRINCIPAL, OWNER = "arn:aws:iam:::user/host", "arn:aws:iam:::user/operator"
EVERYWHERE = ["arn:aws:s3:::{bucket}", "arn:aws:s3:::{bucket}/*"]


def allow(*actions: str) -> dict[str, object]:
    """A policy without a single denial."""
    host = {"Effect": "Allow", "Principal": {"AWS": [PRINCIPAL]}, "Action": list(actions), "Resource": EVERYWHERE}
    owner = {"Effect": "Allow", "Principal": {"AWS": [OWNER]}, "Action": ["s3:*"], "Resource": EVERYWHERE}
    return {"Version": "2012-10-17", "Statement": [host, owner]}


NAIVE, WIDE_OPEN = allow("s3:PutObject", "s3:ListBucket"), allow("s3:*")


@pytest.fixture
def make(s3: S3) -> Callable[..., tuple[S3Store, S3Store]]:
    """Make a bucket and return it as its owner and as the host see it."""

    def make(*, lock: bool = False, policy: object = None) -> tuple[S3Store, S3Store]:
        place = S3Place(bucket=f"test-{secrets.token_hex(6)}", prefix="site", endpoint=s3.endpoint)
        owner = S3Store(place, Credentials(*s3.operator))
        owner.ask_bucket("create_bucket", ObjectLockEnabledForBucket=lock)
        if policy:
            owner.bucket.set_policy(json.dumps(policy).replace("{bucket}", place.bucket))
        return owner, S3Store(place, Credentials(*s3.host))

    return make


def give_ours(owner: S3Store) -> None:
    """Give the bucket the policy that init prints."""
    name = owner.bucket.name
    host = host_policy(name, owner.bucket.prefix, "web", principal=PRINCIPAL)
    owner.bucket.set_policy(as_json(bucket_policy(name, [host], owner=OWNER)))


def holes(owner: S3Store, thief: S3Store) -> list[str]:
    found = audit(thief, owner, "web", clock=SystemClock(), listener=Silent())
    assert len(found.findings) >= 17
    return [hole.attempt for hole in found.holes]


def settings(store: S3Store) -> tuple[object, ...]:
    return store.bucket.policy(), list(store.bucket.lifecycle()), store.bucket.versioning()


class TestAudit:
    def test_with_lock_and_our_policy_every_attempt_fails(self, make) -> None:
        owner, thief = make(lock=True)
        give_ours(owner)
        before = settings(owner)
        assert holes(owner, thief) == []
        assert settings(owner) == before

    def test_with_our_policy_but_neither_lock_nor_versions_a_put_over_destroys(self, make) -> None:
        owner, thief = make()
        give_ours(owner)
        assert holes(owner, thief) == ["put over an object"]

    def test_versions_without_lock_hold_as_well(self, make) -> None:
        owner, thief = make()
        owner.bucket.enable_versioning()
        give_ours(owner)
        assert holes(owner, thief) == []

    def test_a_policy_that_only_allows_leaves_the_host_its_own_objects(self, make) -> None:
        owner, thief = make(lock=True, policy=NAIVE)
        found = holes(owner, thief)
        assert "read an object" in found
        assert "list another host's objects" in found
        assert "make an object public" in found
        assert "delete an object for good" not in found

    def test_a_wide_open_bucket_fails_nearly_everything_and_is_left_as_it_was(self, make) -> None:
        owner, thief = make(policy=WIDE_OPEN)
        before = settings(owner)
        found = holes(owner, thief)
        assert {
            "read an object",
            "list another host's objects",
            "add to another host's objects",
            "put over an object",
            "make an object public",
            "delete an object for good",
            "replace the bucket's policy",
            "remove the bucket's policy",
            "replace the lifecycle rules",
        } <= set(found)
        assert settings(owner)[:2] == before[:2]
        assert list(owner.list("web-audit/")) == []

    def test_credentials_that_can_do_nothing_are_no_proof_of_safety(self, make, s3: S3) -> None:
        owner, thief = make(lock=True)
        with pytest.raises(RepositoryError, match="these credentials cannot back up web"):
            holes(owner, thief)
        stranger = S3Store(thief.place, Credentials(s3.host[0], Secret.of("guessed")))
        with pytest.raises(RepositoryError, match="refuses these credentials"):
            holes(owner, stranger)

    def test_backups_that_the_control_side_cannot_read_are_refused(self, make) -> None:
        owner, thief = make(lock=True)
        host = host_policy(owner.bucket.name, owner.bucket.prefix, "web", principal=PRINCIPAL)
        owner.bucket.set_policy(as_json(bucket_policy(owner.bucket.name, [host], owner=None)))
        with pytest.raises(RepositoryError, match="the control side cannot read what this host stores"):
            holes(owner, thief)


class TestPolicy:
    def test_a_host_adds_and_lists_under_its_own_name_only(self, make, s3: S3) -> None:
        owner, host = make(lock=True)
        give_ours(owner)
        host.put_new("web/epochs/20260101-00000000/packs/a", b"x", retain_until=datetime.now(UTC) + timedelta(days=1))
        assert [found.key for found in host.list("web/epochs/")] == ["web/epochs/20260101-00000000/packs/a"]
        for key in ("web2/a", "we", "README.md"):
            with pytest.raises(Denied):
                host.put_new(key, b"x")
        with pytest.raises(Denied):
            S3Store(replace(host.place, prefix=""), Credentials(*s3.host)).put_new("web/a", b"x")

    def test_a_host_cannot_delete_what_it_locked_even_without_a_policy_of_ours(self, make) -> None:
        owner, host = make(lock=True, policy=WIDE_OPEN)
        host.put_new("web/pack", b"x", retain_until=datetime.now(UTC) + timedelta(hours=1))
        with pytest.raises(Denied):
            host.delete("web/pack")
        assert owner.get("web/pack") == b"x"


@pytest.fixture(scope="module")
def keys() -> tuple[Secret, Secret]:
    return age.new_identity(), age.new_identity()


class TestBackupWithTheLeastRights:
    def origin(self, store: S3Store, keys: tuple[Secret, Secret], state: Path) -> Origin:
        terms = Terms(lock_for=Duration.parse("1d"))
        recipients = [age.recipient_of(key) for key in keys]
        return Origin(host="web", store=store, state=state, recipients=recipients, terms=terms)

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        (tmp_path / "tree").mkdir()
        for number in range(20):
            (tmp_path / "tree" / f"{number}").write_bytes(secrets.token_bytes(100_000))
        return tmp_path / "tree"

    def test_a_host_backs_up_and_can_neither_read_nor_delete_what_it_wrote(self, make, keys, tree, tmp_path) -> None:
        owner, host = make(lock=True)
        give_ours(owner)
        origin = self.origin(host, keys, tmp_path / "state")
        first = backup(origin, [Tree("data", tree)])
        again = backup(origin, [Tree("data", tree)])
        assert (first.outcome, again.fresh_epoch) == ("complete", False)
        found = [info.key for info in owner.list("web/")]
        assert len(found) >= 4
        for key in found:
            version = next(iter(owner.versions(key))).version
            for attempt in (host.get, host.head, host.delete):
                with pytest.raises(Denied):
                    attempt(key)
            for exact in (host.get, host.delete):
                with pytest.raises(Denied):
                    exact(key, version=version)
            with pytest.raises(Denied):
                owner.delete(key)
        reader = Repository(owner, "web", (keys[1],), Pin(origin.signing_key().verify_key))
        restore(reader.newest(), tmp_path / "back")
        for path in tree.iterdir():
            assert (tmp_path / "back" / "data" / path.name).read_bytes() == path.read_bytes()

    def test_a_backup_without_changes_is_one_object(self, make, keys, tree, tmp_path) -> None:
        owner, host = make(lock=True)
        give_ours(owner)
        origin = self.origin(host, keys, tmp_path / "state")
        old = {path: path.stat() for path in tree.iterdir()}
        for path, found in old.items():
            os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns - 10**10))
        backup(origin, [Tree("data", tree)], options=Options(settle_within=0))
        before = {info.key for info in owner.list()}
        backup(origin, [Tree("data", tree)], options=Options(settle_within=0))
        assert len({info.key for info in owner.list()} - before) == 1

    def test_on_a_bucket_without_the_policy_the_same_host_reads_and_hides_its_packs(
        self, make, keys, tree, tmp_path
    ) -> None:
        owner, host = make(policy=WIDE_OPEN)
        origin = replace(self.origin(host, keys, tmp_path / "state"), terms=Terms())
        backup(origin, [Tree("data", tree)])
        pack = next(info.key for info in owner.list("web/") if "/packs/" in info.key)
        assert host.get(pack)
        host.delete(pack)
        assert list(owner.versions(pack)) == []

    def test_a_packs_older_version_is_taken_when_a_thief_laid_another_over_it(self, make, keys, tree, tmp_path) -> None:
        owner, host = make(lock=True)
        give_ours(owner)
        origin = self.origin(host, keys, tmp_path / "state")
        backup(origin, [Tree("data", tree)])
        for info in list(owner.list("web/epochs/")):
            host.overwrite(info.key, b"not what it was")
        told: list[str] = []
        pin = Pin(origin.signing_key().verify_key)
        restore(Repository(owner, "web", (keys[0],), pin, told=told.append).newest(), tmp_path / "back")
        for path in tree.iterdir():
            assert (tmp_path / "back" / "data" / path.name).read_bytes() == path.read_bytes()
        assert told


class TestInit:
    def test_a_bucket_with_lock_needs_only_a_policy_and_a_rule_for_uploads(self, make) -> None:
        owner, _ = make(lock=True)
        bad = [check.name for check in init(owner, Wishes(hosts={"web": PRINCIPAL})).checks if not check.good]
        assert bad == ["clears unfinished uploads", "has a policy"]
        # Ceph 16 does not honour the condition on versioned buckets; the versions are what keeps an older body.
        assert not owner.bucket.facts().conditional

    def test_a_plain_bucket_honours_the_condition_and_lacks_the_rest(self, make) -> None:
        owner, _ = make()
        checks = {check.name: check.good for check in init(owner, Wishes(hosts={"web": PRINCIPAL})).checks}
        assert checks == {
            "refuses a second put": True,
            "keeps versions": False,
            "has object lock": False,
            "clears unfinished uploads": False,
            "no rule deletes by age": True,
            "has a policy": False,
        }

    def test_fix_switches_versions_on_and_keeps_the_rules_that_are_there(self, make) -> None:
        owner, _ = make()
        rule = {"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 9}}
        owner.bucket.set_lifecycle([rule])
        checks = {check.name: check for check in init(owner, Wishes(hosts={"web": PRINCIPAL}, fix=True)).checks}
        assert checks["keeps versions"].good
        assert checks["clears unfinished uploads"].good
        assert "logs: may take packs" in checks["no rule deletes by age"].note
        assert len(owner.bucket.lifecycle()) == 2
        init(owner, Wishes(hosts={"web": PRINCIPAL}, fix=True))
        assert len(owner.bucket.lifecycle()) == 2

    def test_documents_are_written_once_and_renewed_when_they_changed(self, make) -> None:
        owner, _ = make(lock=True)
        assert init(owner, Wishes(hosts={"web": PRINCIPAL})).written == ["README.md", "FORMAT.md", "recover.py"]
        assert init(owner, Wishes(hosts={"web": PRINCIPAL})).written == []
        owner.overwrite("README.md", b"old")
        assert init(owner, Wishes(hosts={"web": PRINCIPAL})).written == ["README.md"]
        assert owner.get("README.md").startswith(b"# Backups")
