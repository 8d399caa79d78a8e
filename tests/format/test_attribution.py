"""Whose data it is and under which licence comes from the recipe or the import; nothing assumes ours."""

import json
from dataclasses import replace
from pathlib import Path

import minari
import numpy as np
import pytest

from idaq.catalogue.entries import catalogue_recipe, entries
from idaq.collect.collect import Collected, collect
from idaq.core.config import from_mapping, to_mapping
from idaq.core.errors import ConfigError
from idaq.core.notes import Notes
from idaq.core.types import Episode
from idaq.format import layout
from idaq.format.card import dataset_card
from idaq.format.edit import Labels, relabelled, subset
from idaq.format.importing import Import, ImportedEpisode, ImportedTask, dataset_source, state_attribution
from idaq.format.merge import merged
from idaq.format.reader import StoredDataset, open_stored
from idaq.format.recipe import Recipe, attribution_notes, join_attribution, join_origins
from idaq.format.verify import verify
from idaq.format.writer import write_dataset
from idaq.format.zarr.layout import attributes_digest
from idaq.format.zarr.reader import open_zarr
from idaq.format.zarr.transfer import export_zarr
from idaq.hub.lookup import open_remote
from idaq.hub.push import push
from idaq.share.importers.minari import read_minari
from tests.format.made import made_source
from tests.format.sealing import alter_document, alter_metadata, reseal
from tests.recipes import small_recipe

OURS = ["the idaq contributors"]


def stated(recipe: Recipe, authors: list[str], license: str | None) -> Recipe:
    return from_mapping(Recipe, to_mapping(recipe) | {"authors": authors, "license": license}, where="test")


def made_with(root: Path, name: str, authors: list[str], license: str | None) -> StoredDataset:
    source = made_source()
    recipe = replace(stated(source.recipe, authors, license), id=name)
    return open_stored(write_dataset(replace(source, recipe=recipe), root))


def imported(**more: object) -> Import:
    episode = Episode(
        observations=np.zeros((3, 2), np.float32),
        actions=np.zeros((2, 1), np.float32),
        rewards=np.ones(2, np.float32),
        terminated=np.zeros(2, bool),
        truncated=np.array([False, True]),
    )
    task = ImportedTask(name="a", episodes=[ImportedEpisode(episode=episode, seed=1)])
    return Import(tasks=[task], origin="a.npz", **more)  # type: ignore[arg-type]


def test_every_recipe_of_the_catalogue_says_it_is_ours() -> None:
    recipes = [catalogue_recipe(entry.family, entry.quality) for entry in entries()]
    assert {(tuple(recipe.authors), recipe.license) for recipe in recipes} == {(tuple(OURS), "MIT")}


def test_collected_data_says_so_to_minari_and_on_its_card(collected: Collected) -> None:
    metadata = open_stored(collected.path).metadata
    assert (metadata["author"], metadata["license"]) == (OURS, "MIT")
    assert minari.MinariDataset(collected.path / "data").storage.metadata["author"] == set(OURS)
    card = (collected.path / layout.CARD).read_text()
    assert card.startswith("---\nlicense: mit\n")
    assert "- authors: the idaq contributors; licence: MIT\n" in card


@pytest.mark.parametrize(
    ("license", "lines"),
    [
        (None, "license: unknown\n"),
        ("CC-BY-4.0", "license: cc-by-4.0\n"),
        ("ODbL-1.0", "license: odbl\n"),
        ('free: for "research"', 'license: other\nlicense_name: "free: for \\"research\\""\n'),
    ],
)
def test_the_front_matter_names_a_licence_that_the_hub_knows(license: str | None, lines: str, tmp_path: Path) -> None:
    card = (made_with(tmp_path, "me/a-v0", [], license).path / layout.CARD).read_text()
    assert card.startswith(f"---\n{lines}task_categories:")


@pytest.mark.parametrize("text", ["", " ", "MIT\ntags: [evil]", "a\x1b[2J", "x" * 201])
def test_what_is_no_line_of_text_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="license"):
        stated(small_recipe(), [], text)
    with pytest.raises(ConfigError, match="authors"):
        stated(small_recipe(), [text], None)


def test_imported_data_is_nobodys_until_somebody_says(tmp_path: Path) -> None:
    data = imported()
    state_attribution(data)
    assert "a.npz: authors and licence unknown; --author and --license state them" in data.notes
    source = dataset_source(data, "me/a-v0", "imported", "Imported.")
    stored = open_stored(write_dataset(source, tmp_path, ""))
    assert stored.metadata["author"] == []
    assert "license" not in stored.metadata
    card = dataset_card(stored)
    assert card.startswith("---\nlicense: unknown\n")
    assert "- authors: unknown; licence: unknown\n" in card
    assert "recipe seed" not in card
    assert "| unknown | unknown | unknown | unknown | unknown | up to 1 |" in card


def test_the_users_word_goes_before_the_sources_and_is_told() -> None:
    data = imported(authors=["Ada"], license="MIT")
    state_attribution(data, license="CC0-1.0")
    assert (data.authors, data.license) == (["Ada"], "CC0-1.0")
    assert list(data.notes) == ["a.npz: states the licence MIT; what was asked for is written: CC0-1.0"]


def test_minaris_metadata_is_taken_over(made: Path, damaged: Path) -> None:
    alter_metadata(damaged, lambda metadata: metadata.update(author="Ada\nLovelace", license="CC0-1.0"))
    one = read_minari(damaged)
    assert (one.authors, one.license) == (["Ada Lovelace"], "CC0-1.0")
    alter_metadata(damaged, lambda metadata: metadata.update(author=[], license=["x"]))
    assert (read_minari(damaged).authors, read_minari(damaged).license) == ([], None)
    assert read_minari(made).license == "MIT"


@pytest.mark.parametrize(
    ("licenses", "joined", "note"),
    [
        (("MIT", "MIT"), "MIT", []),
        ((None, None), None, []),
        (("MIT", "CC0-1.0 AND MIT"), "MIT AND CC0-1.0", ["a, b: licences differ, and all apply: MIT AND CC0-1.0"]),
        (("MIT", None), None, ["b: licence unknown, hence of the whole (the rest: MIT)"]),
    ],
)
def test_data_of_several_is_under_all_their_licences(
    licenses: tuple[str | None, str | None], joined: str | None, note: list[str]
) -> None:
    recipe, notes = small_recipe(), Notes()
    parts = [(name, stated(recipe, ["Ada", name], text)) for name, text in zip("ab", licenses, strict=True)]
    assert join_attribution(parts, notes) == (["Ada", "a", "b"], joined)
    assert list(notes) == note
    parts[1] = ("b", replace(parts[1][1], authors=[]))
    assert join_attribution(parts, notes)[0] == ["Ada", "a"]
    assert "b: authors unknown: the others alone are named" in list(notes)


@pytest.mark.parametrize(
    ("stated_by_each", "joined", "notes"),
    [
        ([(None, None), (None, None)], (None, None), []),
        ([("A", "https://h/a"), (None, None)], ("A", "https://h/a"), []),
        ([("A", "here"), ("B", "here"), ("A", "there")], ("A\n\nB", "here; there"), []),
        (
            [("A", "x" * 150), ("B", "y" * 150)],
            ("A\n\nB", None),
            ["a, b: sources have more than 200 characters: left out"],
        ),
    ],
)
def test_citations_and_sources_of_several_are_all_stated(
    stated_by_each: list[tuple[str | None, str | None]], joined: tuple[str | None, str | None], notes: list[str]
) -> None:
    recipe, told = small_recipe(), Notes()
    parts = [
        (name, replace(recipe, citation=citation, source=source))
        for name, (citation, source) in zip("abc", stated_by_each, strict=False)
    ]
    assert join_origins(parts, told) == joined
    assert list(told) == notes


def test_a_merge_states_the_origins_of_all(tmp_path: Path) -> None:
    parents = [
        open_stored(
            write_dataset(
                relabelled(made_with(tmp_path, f"me/{name}-v0", ["Ada"], "MIT"), f"me/{name}-v1", one), tmp_path
            )
        )
        for name, one in (("a", origin("A", "here")), ("b", origin("B", "there")))
    ]
    recipe = merged(parents, "me/c-v0")[0].recipe
    assert (recipe.citation, recipe.source) == ("A\n\nB", "here; there")


def origin(citation: str, source: str) -> Labels:
    return Labels(splits={}, behaviours={}, citation=citation, source=source)


def test_an_import_states_how_to_cite_it_and_where_it_is_from() -> None:
    data = imported(authors=["Ada"], license="MIT", source="their page")
    state_attribution(data, citation="Ada, 2026", source="https://h/a")
    assert list(data.notes) == ["a.npz: states the source their page; what was asked for is written: https://h/a"]
    recipe = dataset_source(data, "me/a-v0", "imported", "Imported.").recipe
    assert (recipe.citation, recipe.source) == ("Ada, 2026", "https://h/a")


def test_edits_keep_it_and_relabel_states_it(tmp_path: Path) -> None:
    parent = made_with(tmp_path, "me/a-v0", ["Ada"], "CC0-1.0")
    keep = parent.episodes.task_index == 2
    for source in (
        subset(parent, "me/b-v0", keep, "s"),
        relabelled(parent, "me/c-v0", Labels(splits={}, behaviours={})),
    ):
        assert (source.recipe.authors, source.recipe.license) == (["Ada"], "CC0-1.0")
    labels = Labels(splits={}, behaviours={}, authors=["Bob"], license="MIT")
    recipe = relabelled(parent, "me/c-v0", labels).recipe
    assert (recipe.authors, recipe.license) == (["Bob"], "MIT")


def test_a_push_tells_what_nobody_can_know(tmp_path: Path) -> None:
    unknown, known = made_with(tmp_path, "me/a-v0", [], None), made_with(tmp_path, "me/b-v0", ["Ada"], "MIT")
    with open_remote(f"file://{tmp_path}/hub") as remote:
        assert push(unknown.path, remote).notes == ("authors and licence of me/a-v0 unknown; the card says so",)
        assert push(known.path, remote).notes == ()


def test_collecting_tells_it_once_and_never_collects_again_for_it(tmp_path: Path) -> None:
    recipe = stated(small_recipe(), [], None)
    assert collect(recipe, tmp_path).notes == tuple(attribution_notes(recipe)) != ()
    assert collect(recipe, tmp_path).notes == tuple(attribution_notes(recipe))
    later = collect(small_recipe(), tmp_path)
    assert later.existed
    assert "states other authors, licence, citation or source" in later.notes[0]


def test_datasets_written_before_recipes_said_it_are_sound(damaged: Path, tmp_path: Path) -> None:
    def earlier(recipe: dict[str, object]) -> None:
        del recipe["authors"], recipe["license"]

    alter_document(layout.data_folder(damaged) / layout.MANIFEST, lambda manifest: earlier(manifest["recipe"]))
    reseal(damaged)
    assert verify(damaged) == []
    export_zarr(open_stored(damaged), str(tmp_path / "x.zarr"))

    def unsaid(group: dict[str, object]) -> None:
        attribute = json.loads(json.dumps(group["attributes"]))["idaq"]
        earlier(attribute["manifest"]["recipe"])
        group["attributes"] = {"idaq": {**attribute, "sha256": attributes_digest(attribute)}}

    alter_document(tmp_path / "x.zarr/zarr.json", unsaid)
    assert open_zarr(str(tmp_path / "x.zarr")).manifest.recipe.license is None
