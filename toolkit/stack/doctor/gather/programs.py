"""Programs of the host, run for what they say."""

import subprocess

PATIENCE = 6.0


def said(*words: str, given: str = "", within: float = PATIENCE, check: bool = True) -> str:
    """Return what a program prints. Raises OSError where it is missing, fails or takes too long."""
    try:
        done = subprocess.run(
            words, input=given, capture_output=True, text=True, errors="replace", timeout=within, check=False
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"`{words[0]}` takes longer than {within:g} s") from None
    if check and done.returncode:
        complaint = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise OSError(f"`{' '.join(words[:3])}` ended with {done.returncode}: {' '.join(complaint)}")
    return done.stdout
