"""The least rights a host needs in a bucket, as a policy for the server: add objects and list them, under its own name.

The denials are explicit because an uploader owns its objects: on some servers the absence of a right to read is not
enough. They name actions one by one or by wildcard, never by `NotAction`, which Ceph 16 accepts and does not enforce.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

Policy = Mapping[str, Any]

_MAY = ["s3:PutObject", "s3:PutObjectRetention", "s3:AbortMultipartUpload"]
_MAY_NOT = [
    "s3:Get*",
    "s3:Delete*",
    "s3:BypassGovernanceRetention",
    "s3:RestoreObject",
    "s3:PutObjectAcl",
    "s3:PutObjectVersionAcl",
    "s3:PutObjectLegalHold",
    "s3:PutObjectTagging",
    "s3:PutObjectVersionTagging",
    "s3:PutBucket*",
    "s3:PutLifecycleConfiguration",
    "s3:PutReplicationConfiguration",
]
# A put may carry access rights in its headers; a host never needs any.
_HEADERS = ["acl", "grant-read", "grant-write", "grant-read-acp", "grant-write-acp", "grant-full-control"]


def host_policy(
    bucket: str,
    prefix: str,
    host: str,
    *,
    principal: str | None,
    lock_days: int | None = None,
    also: Sequence[str] = (),
) -> Policy:
    """Return the policy for one host: for the bucket where `principal` is given, for the host's own user where not.

    `lock_days` limits how far ahead the host may lock its objects, on servers that know the condition; `also` are
    further names that it writes under.
    """
    everything = f"arn:aws:s3:::{bucket}"
    roots = [f"{prefix}/{name}" if prefix else name for name in (host, *also)]
    own, who = [f"{everything}/{root}/*" for root in roots], {"Principal": {"AWS": [principal]}} if principal else {}

    def rule(name: str, effect: str, **rest: object) -> dict[str, object]:
        return {"Sid": name, "Effect": effect, **who, **rest}

    rules = [
        rule("Add", "Allow", Action=_MAY, Resource=own),
        rule(
            "List",
            "Allow",
            Action=["s3:ListBucket"],
            Resource=[everything],
            Condition=_like("prefix", *(f"{root}/*" for root in roots)),
        ),
        rule("NothingElse", "Deny", Action=_MAY_NOT, Resource=[everything, f"{everything}/*"]),
        rule("NowhereElse", "Deny", Action=_MAY, NotResource=own),
    ]
    rules += [
        rule(
            f"NoRights{number}",
            "Deny",
            Action=["s3:PutObject"],
            Resource=own,
            Condition=_like(f"x-amz-{header}", "?*"),
        )
        for number, header in enumerate(_HEADERS)
    ]
    if lock_days:
        limit = {"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": str(lock_days)}}
        rules.append(rule("NoEndlessLock", "Deny", Action=["s3:PutObjectRetention"], Resource=own, Condition=limit))
    return {"Version": "2012-10-17", "Statement": rules}


def bucket_policy(bucket: str, hosts: Sequence[Policy], *, owner: str | None) -> Policy:
    """Return one policy for the whole bucket, from those of its hosts.

    `owner` is the control side's user. Where objects belong to their uploader even the bucket's owner cannot read them
    unless a policy says so, and an unreadable backup is found out too late.
    """
    statements = [
        {**statement, "Sid": f"{statement['Sid']}Host{number}"}
        for number, policy in enumerate(hosts)
        for statement in policy["Statement"]
    ]
    if owner:
        everything = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        rule = {"Sid": "Owner", "Effect": "Allow", "Principal": {"AWS": [owner]}, "Action": ["s3:*"]}
        statements.append({**rule, "Resource": everything})
    return {"Version": "2012-10-17", "Statement": statements}


def is_ours(text: str) -> bool:
    """Say whether every statement of a bucket's policy is one that `bucket_policy` writes, so that none is lost."""
    try:
        names = [str(statement["Sid"]) for statement in json.loads(text)["Statement"]]
    except (ValueError, KeyError, TypeError):
        return False
    return all(
        re.fullmatch(r"(Add|List|NothingElse|NowhereElse|NoRights\d+|NoEndlessLock)Host\d+|Owner", name)
        for name in names
    )


def as_json(policy: Policy) -> str:
    return json.dumps(policy, indent=2)


def _like(key: str, *patterns: str) -> dict[str, dict[str, object]]:
    return {"StringLike": {f"s3:{key}": patterns[0] if len(patterns) == 1 else list(patterns)}}
