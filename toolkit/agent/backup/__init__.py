"""Backups of a running stack, made on its host: what it has, held still, sealed, sent, written down and told."""
