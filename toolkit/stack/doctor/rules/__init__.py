"""Every rule of the doctor, in the order of the page. A rule is added here and nowhere else."""

from toolkit.stack.doctor.rule import Rule
from toolkit.stack.doctor.rules import deploys, docker, jobs, machine, reach, services, stores, upkeep, web

RULES: tuple[Rule, ...] = (
    *reach.RULES,
    *machine.RULES,
    *docker.RULES,
    *deploys.RULES,
    *services.RULES,
    *stores.RULES,
    *jobs.RULES,
    *web.RULES,
    *upkeep.RULES,
)
