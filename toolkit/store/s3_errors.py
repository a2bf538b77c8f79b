"""What the error codes of S3 servers mean to us: a kind of error, a sentence and a way out."""

from toolkit.words.errors import Denied, Exists, Missing, StoreError


class Damaged(StoreError):
    """A body arrived different or not whole: worth another try before it is anybody's concern."""


class Unavailable(StoreError):
    """The server does not answer or is not well: that passes by itself, and nothing was refused."""


class NotOffered(StoreError):
    """The server has no such feature."""


_CLOCK = "set this machine's clock, for example with `timedatectl set-ntp true`, and run again"
_RENEW = "renew the credentials and run again; what is stored already will be used"
_CHECK = "check the access key and secret key of this store"
_POLICY = "compare the bucket's policy with the one that `backup.init` prints"
_LOCK = "if it is about a lock date: only a bucket made with object lock takes one"
_LATER = "wait a while and run again; what is stored already will be used"

# `{key}` and `{bucket}` are filled in. Servers answer a HEAD with bare numbers instead of codes.
_MEANINGS: dict[str, tuple[type[StoreError], str, str]] = {
    "NoSuchKey": (Missing, "{key} is not in {bucket}", ""),
    "NoSuchVersion": (Missing, "{key} has no such version in {bucket}", ""),
    "404": (Missing, "{key} is not in {bucket}", ""),
    "NoSuchBucket": (
        StoreError,
        "there is no bucket {bucket}",
        "correct the store's URL, or let `backup.init --create` make it",
    ),
    "BucketAlreadyExists": (StoreError, "the bucket {bucket} belongs to somebody else", "choose another name"),
    "PreconditionFailed": (Exists, "{key} exists already in {bucket}", ""),
    "412": (Exists, "{key} exists already in {bucket}", ""),
    "ConditionalRequestConflict": (Exists, "{key} is being written to {bucket} by somebody else", ""),
    "AccessDenied": (
        Denied,
        "{bucket} does not allow this with {key}",
        _POLICY,
    ),
    "403": (Denied, "{bucket} does not allow this with {key}", _POLICY),
    "InvalidAccessKeyId": (Denied, "{bucket} does not know these credentials", _CHECK),
    "SignatureDoesNotMatch": (Denied, "{bucket} refuses these credentials", _CHECK),
    "ExpiredToken": (Denied, "the credentials for {bucket} have expired", _RENEW),
    "InvalidToken": (Denied, "the session token for {bucket} is refused", _RENEW),
    "RequestExpired": (StoreError, "a request to {bucket} was too old when it arrived", _CLOCK),
    "RequestTimeTooSkewed": (StoreError, "this machine's clock differs too much from that of {bucket}", _CLOCK),
    "BadDigest": (Damaged, "{key} was damaged on the way to {bucket}", "check the network path, then run again"),
    "XAmzContentSHA256Mismatch": (Damaged, "{key} was damaged on the way to {bucket}", "check the network path"),
    "SlowDown": (Unavailable, "{bucket} asks to slow down", _LATER),
    "503": (Unavailable, "{bucket} is not available at the moment", _LATER),
    "ServiceUnavailable": (Unavailable, "{bucket} is not available at the moment", _LATER),
    "InternalError": (Unavailable, "the server of {bucket} failed inside", _LATER),
    "500": (Unavailable, "the server of {bucket} failed inside", _LATER),
    "InvalidRequest": (StoreError, "{bucket} refuses {key}: {code} {words}", _LOCK),
    "QuotaExceeded": (StoreError, "{bucket} is full", "raise its quota or expire old epochs"),
    "ObjectLockConfigurationNotFoundError": (Missing, "{bucket} has no object lock", ""),
    "NoSuchLifecycleConfiguration": (Missing, "{bucket} has no lifecycle rules", ""),
    "NoSuchBucketPolicy": (Missing, "{bucket} has no policy", ""),
    "MethodNotAllowed": (NotOffered, "the server of {bucket} does not do this with {key}", ""),
    "NotImplemented": (NotOffered, "the server of {bucket} does not do this with {key}", ""),
    "501": (NotOffered, "the server of {bucket} does not do this with {key}", ""),
}


def meaning(code: str, *, bucket: str, key: str, words: str) -> StoreError:
    """Return the error for a server's code; `words` are the server's own, for codes nobody foresaw."""
    kind, text, hint = _MEANINGS.get(code, (StoreError, "{bucket} refuses {key}: {code} {words}", ""))
    return kind(text.format(bucket=bucket, key=key, code=code, words=words).rstrip(), hint=hint)
