"""Recipes small enough to collect in a test."""

from idaq.catalogue.entries import catalogue_recipe
from idaq.format.recipe import Recipe

SMALL = ("episodes=3", "splits.sizes={train = 6, test = 2}", "reference.random_episodes=2")


def small_recipe(family: str = "point-robot", quality: str = "expert", *settings: str) -> Recipe:
    """A recipe of the catalogue, cut down to 8 tasks of 3 episodes a behaviour; `settings` come on top."""
    return catalogue_recipe(family, quality, [*SMALL, *settings])
