"""Workflows: what the verbs do, from a host file and a host to a result that a face can show."""
