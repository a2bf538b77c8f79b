"""Restoring on the host: data of a snapshot loaded beside what is in use, swapped in at once, and back if need be."""
