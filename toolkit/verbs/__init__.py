"""Verbs: one short task per verb, for `invoke` in a repository and for `toolkit` outside of one.

Nothing heavy is imported before a task runs, so that `invoke --list` stays quick.
"""
