"""Sources: what a stack's data is, held still, brought back and proven. `docs/sources.md` is the guide.

Each kind is a module of its own name; `protocol` says what they share, `discover` and `barrier` are where a backup
begins, `stored` where a restore does. Nothing is imported here: who only resumes what was paused needs no repository.
"""
