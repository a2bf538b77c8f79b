"""The verbs of this repository: `invoke --list` names them, `invoke --help VERB` explains one."""

from toolkit.verbs.program import namespace

ns = namespace()
