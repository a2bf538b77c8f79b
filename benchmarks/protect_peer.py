"""The peer's way to S3: standard input becomes one object, in parts and several at once, as every client does it."""

import json
import sys
from pathlib import Path

import boto3


def main() -> None:
    place = json.loads(Path(sys.argv[1]).read_text())
    client = boto3.client(
        "s3", endpoint_url=place["endpoint"], region_name="us-east-1", aws_access_key_id=place["key"],
        aws_secret_access_key=place["secret"],
    )  # fmt: skip
    client.upload_fileobj(sys.stdin.buffer, place["bucket"], "dump.age")


if __name__ == "__main__":
    main()
