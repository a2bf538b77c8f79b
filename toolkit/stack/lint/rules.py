"""Every rule, in the order of the page. A rule is added here and nowhere else."""

from toolkit.stack.lint import data, environment, health, images, installation, limits, network, order, rights
from toolkit.stack.lint.rule import Rule
from toolkit.stack.lint.suppress import STALE

RULES: tuple[Rule, ...] = (
    *limits.RULES,
    *health.RULES,
    *order.RULES,
    *network.RULES,
    *environment.RULES,
    *images.RULES,
    *data.RULES,
    *rights.RULES,
    *installation.RULES,
    STALE,
)
