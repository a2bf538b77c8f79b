"""Verbs of the agent, one module per subject: each adds its words and imports what they need when they run."""
