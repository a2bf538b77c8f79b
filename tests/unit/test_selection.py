"""The choice among slow tests: as many of each family as was said, the same ones for the same seed, all in time."""

from tests.selection import Family, chosen

KILLS, DISKS = Family("kill", 2), Family("disk", 3)
FAMILIES = {KILLS: ["pull", "stateful", "gate", "switch"], DISKS: ["a", "b"]}


def test_a_seed_chooses_as_many_of_each_family_as_was_said() -> None:
    run = chosen(FAMILIES, 7)
    assert len([member for family, member in run if family == KILLS]) == 2
    assert {member for family, member in run if family == DISKS} == {"a", "b"}


def test_the_order_in_which_tests_are_found_does_not_matter() -> None:
    backwards = {family: members[::-1] for family, members in FAMILIES.items()}
    assert [chosen(FAMILIES, seed) for seed in range(20)] == [chosen(backwards, seed) for seed in range(20)]


def test_every_test_has_its_turn() -> None:
    seen = set().union(*(chosen(FAMILIES, seed) for seed in range(40)))
    assert seen == {(family, member) for family, members in FAMILIES.items() for member in members}
