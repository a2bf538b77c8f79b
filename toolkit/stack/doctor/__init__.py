"""The doctor: what is wrong with a host and its stack, told from evidence that was gathered there in one round trip.

gather/     runs on the host, brought along and needing nothing there but Python; gives evidence as JSON
evidence    that JSON, as the rules read it
roles       which services are workers, queues, caches and databases
rules/      each a value: symptoms, cause, and a pure function that finds it in the evidence
diagnosis   the rules over the evidence, most likely first
page        docs/doctor.md
"""
