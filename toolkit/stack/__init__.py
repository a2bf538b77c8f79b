"""A stack: an unmodified multi-file Compose project, what it mounts, what runs of it, and whether that is healthy."""
