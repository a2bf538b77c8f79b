import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.repository.init import Readiness, Wishes, init
from toolkit.repository.policy import Policy, as_json, bucket_policy, host_policy
from toolkit.store import MemoryStore
from toolkit.store.directory import DirectoryStore
from toolkit.store.protocol import BucketFacts
from toolkit.verbs import backup_shown

ROOT = Path(__file__).parents[2]
HOST, OWNER = "arn:aws:iam:::user/web", "arn:aws:iam:::user/operator"
OURS = as_json(bucket_policy("backups", [host_policy("backups", "site", "web", principal=HOST)], owner=OWNER))
THEIRS = '{"Version": "2012-10-17", "Statement": [{"Sid": "Logs", "Effect": "Allow"}]}'
SOUND = BucketFacts(versioned=True, lockable=True, conditional=True, aborts_uploads=True, deleting=(), policy=OURS)


class FakeBucket:
    name, prefix = "backups", "site"

    def __init__(self, facts: BucketFacts) -> None:
        self.now = facts
        self.there = False

    def create(self) -> bool:
        self.there, before = True, self.there
        return not before

    def facts(self) -> BucketFacts:
        return self.now

    def policy(self) -> str | None:
        return self.now.policy

    def set_policy(self, policy: str | None) -> None:
        self.now = replace(self.now, policy=policy)

    def enable_versioning(self) -> None:
        self.now = replace(self.now, versioned=True)

    def abort_unfinished_uploads(self) -> None:
        self.now = replace(self.now, aborts_uploads=True)


class BucketInMemory(MemoryStore):
    def __init__(self, facts: BucketFacts = SOUND) -> None:
        super().__init__()
        self.bucket = FakeBucket(facts)

    def attempts(self, owner: object, bait: str) -> object:
        raise AssertionError("init does not attack")


def prepared(store: object, **options: object) -> Readiness:
    return init(store, Wishes(hosts={"web": HOST}, owner=OWNER, **options))


def test_the_documents_for_a_stranger_are_written_once() -> None:
    store = BucketInMemory()
    assert prepared(store).written == ["README.md", "FORMAT.md", "recover.py"]
    assert store.get("FORMAT.md") == (ROOT / "docs" / "format.md").read_bytes()
    assert store.get("recover.py") == (ROOT / "toolkit" / "repository" / "recover.py").read_bytes()
    assert prepared(store).written == []


def test_a_document_that_changed_is_renewed() -> None:
    store = BucketInMemory()
    store.put_new("recover.py", b"of last year")
    assert "recover.py" in prepared(store).written
    assert store.get("recover.py") != b"of last year"


def test_the_readme_names_the_tools_and_the_two_other_documents() -> None:
    store = BucketInMemory()
    prepared(store)
    text = store.get("README.md").decode()
    for word in ("age", "zstd", "python3 recover.py", "FORMAT.md", "AGE-SECRET-KEY-"):
        assert word in text


def test_a_sound_bucket_is_good() -> None:
    ready = prepared(BucketInMemory())
    assert ready.good
    assert {row[1] for row in ready.table().rows} == {"yes"}


@pytest.mark.parametrize(
    ("fault", "check", "note"),
    [
        ({"versioned": False}, "keeps versions", "a put over an object destroys it"),
        ({"lockable": False}, "has object lock", "stolen admin credentials could delete everything"),
        ({"aborts_uploads": False}, "clears unfinished uploads", "parts of interrupted uploads"),
        ({"deleting": ["old logs"]}, "no rule deletes by age", "old logs: may take packs that snapshots still need"),
        ({"policy": None}, "has a policy", "give the server the policy below"),
    ],
)
def test_each_weakness_is_named_and_explained(fault: Mapping[str, object], check: str, note: str) -> None:
    ready = prepared(BucketInMemory(replace(SOUND, **fault)))
    assert [(found.name, found.note[: len(note)]) for found in ready.checks if not found.good] == [(check, note)]


def test_versions_make_up_for_a_server_that_lets_second_puts_through() -> None:
    assert prepared(BucketInMemory(replace(SOUND, conditional=False))).good
    ready = prepared(BucketInMemory(replace(SOUND, conditional=False, versioned=False)))
    assert [check.name for check in ready.checks if not check.good] == ["refuses a second put", "keeps versions"]
    assert "the server ignores If-None-Match" in ready.checks[0].note


def test_settings_are_changed_only_when_told_to() -> None:
    weak = replace(SOUND, versioned=False, aborts_uploads=False)
    store = BucketInMemory(weak)
    assert not prepared(store).good
    assert store.bucket.now == weak
    ready = prepared(store, fix=True)
    assert ready.good
    assert ready.changed == ["switched versioning on", "added a lifecycle rule that clears unfinished uploads"]
    assert store.bucket.now == SOUND
    assert prepared(store, fix=True).changed == []


def test_a_bucket_is_made_only_when_told_to() -> None:
    store = BucketInMemory()
    assert prepared(store).changed == []
    assert not store.bucket.there
    assert prepared(store, create=True).changed == ["made the bucket"]
    assert prepared(store, create=True).changed == []


@pytest.mark.parametrize("policy", [None, OURS.replace("site/web", "site/old"), '{"Statement": []}'])
def test_a_policy_is_given_where_there_is_none_of_somebody_elses(policy: str | None) -> None:
    store = BucketInMemory(replace(SOUND, policy=policy))
    assert prepared(store).changed == []
    assert store.bucket.now.policy == policy
    assert prepared(store, fix=True).changed == ["gave the bucket its policy"]
    assert json.loads(store.bucket.now.policy) == json.loads(OURS)
    assert prepared(store).placed


@pytest.mark.parametrize("policy", [THEIRS, "{}", '{"Statement": [{"Effect": "Allow"}]}', "no policy"])
def test_a_policy_that_somebody_wrote_is_never_replaced(policy: str) -> None:
    store = BucketInMemory(replace(SOUND, policy=policy))
    ready = prepared(store, fix=True)
    assert (store.bucket.now.policy, ready.changed) == (policy, [])
    assert ready.checks[-1].note.startswith("not the one below")
    assert not ready.placed


def test_a_policy_for_the_hosts_own_user_is_only_printed() -> None:
    store = BucketInMemory(replace(SOUND, policy=None))
    ready = init(store, Wishes(hosts={"web": None}, fix=True))
    assert store.bucket.now.policy is None
    assert ready.policy == host_policy("backups", "site", "web", principal=None)
    assert ready.good
    assert not ready.placed
    assert "to the host's own user" in ready.checks[-1].note


def test_a_lock_that_the_bucket_cannot_keep_is_pointed_out() -> None:
    ready = prepared(BucketInMemory(replace(SOUND, lockable=False)), lock_days=60)
    (check,) = [check for check in ready.checks if check.name == "has object lock"]
    assert "every put would be refused" in check.note


def test_a_directory_says_that_it_has_no_rights_of_its_own(tmp_path: Path) -> None:
    ready = prepared(DirectoryStore(tmp_path))
    assert not ready.good
    assert "whoever can write here can delete here" in ready.checks[0].note
    assert ready.policy is None
    assert (tmp_path / "recover.py").exists()


def statements(policy: Policy) -> dict[str, Mapping[str, object]]:
    return {statement["Sid"]: statement for statement in policy["Statement"]}


class TestPolicy:
    def test_a_host_may_add_and_list_under_its_own_name_and_nothing_else(self) -> None:
        rules = statements(host_policy("backups", "site", "web", principal=HOST))
        assert rules["Add"] == {
            "Sid": "Add",
            "Effect": "Allow",
            "Principal": {"AWS": [HOST]},
            "Action": ["s3:PutObject", "s3:PutObjectRetention", "s3:AbortMultipartUpload"],
            "Resource": ["arn:aws:s3:::backups/site/web/*"],
        }
        assert rules["List"]["Condition"] == {"StringLike": {"s3:prefix": "site/web/*"}}
        assert [name for name, rule in rules.items() if rule["Effect"] == "Allow"] == ["Add", "List"]

    def test_reading_deleting_and_exposing_are_denied_in_so_many_words(self) -> None:
        rules = statements(host_policy("backups", "", "web", principal=HOST))
        denied = rules["NothingElse"]["Action"]
        for action in ("s3:Get*", "s3:Delete*", "s3:PutObjectAcl", "s3:BypassGovernanceRetention", "s3:PutBucket*"):
            assert action in denied
        assert rules["NowhereElse"]["NotResource"] == ["arn:aws:s3:::backups/web/*"]
        headers = {key for rule in rules.values() for key in rule.get("Condition", {}).get("StringLike", {})}
        assert {"s3:x-amz-acl", "s3:x-amz-grant-full-control"} <= headers

    def test_a_host_may_write_under_further_names_of_its_own(self) -> None:
        rules = statements(host_policy("backups", "site", "web", principal=HOST, also=["web-wal"]))
        own = ["arn:aws:s3:::backups/site/web/*", "arn:aws:s3:::backups/site/web-wal/*"]
        assert rules["Add"]["Resource"] == rules["NowhereElse"]["NotResource"] == own
        assert rules["List"]["Condition"] == {"StringLike": {"s3:prefix": ["site/web/*", "site/web-wal/*"]}}

    def test_a_policy_for_the_hosts_own_user_names_nobody(self) -> None:
        assert "Principal" not in as_json(host_policy("backups", "", "web", principal=None))

    def test_locks_can_be_limited_where_the_server_knows_how(self) -> None:
        plain, limited = (host_policy("backups", "", "web", principal=HOST, lock_days=days) for days in (None, 40))
        assert "NoEndlessLock" not in statements(plain)
        condition = statements(limited)["NoEndlessLock"]["Condition"]
        assert condition == {"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": "40"}}

    def test_a_bucket_of_several_hosts_has_one_policy_with_distinct_statements(self) -> None:
        hosts = [host_policy("backups", "", name, principal=f"arn:{name}") for name in ("web", "db")]
        rules = statements(bucket_policy("backups", hosts, owner=OWNER))
        assert len(rules) == 2 * len(hosts[0]["Statement"]) + 1
        assert rules["Owner"]["Principal"] == {"AWS": [OWNER]}
        assert rules["AddHost1"]["Principal"] == {"AWS": ["arn:db"]}

    def test_init_prints_what_it_would_give_to_the_server(self) -> None:
        policy = prepared(BucketInMemory()).policy
        assert json.loads(as_json(policy)) == policy
        assert {"AddHost0", "Owner"} <= set(statements(policy))


def test_the_policy_is_shown_until_the_bucket_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    store = BucketInMemory(replace(SOUND, policy=None))
    backup_shown.readiness(prepared(store), json=False)
    assert '"Statement"' in capsys.readouterr().out
    backup_shown.readiness(prepared(store, fix=True), json=False)
    said = capsys.readouterr().out
    assert "gave the bucket its policy" in said
    assert '"Statement"' not in said
    backup_shown.readiness(prepared(store), json=True)
    assert json.loads(capsys.readouterr().out)["policy"]["Statement"]
