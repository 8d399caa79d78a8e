"""What a push sends beside the files of a dataset, made of them anew: for people, viewers and search engines.

`README.md`, the card, with the `configs:` by which the hub's viewer and `datasets.load_dataset` find the tables;
`tasks.parquet`, one row a task; `croissant.json`. The manifest hashes none of them, and no reader needs them.
"""

import re

from idaq.format import layout
from idaq.format.card import dataset_card, read_card
from idaq.format.croissant import CROISSANT, Published, croissant_text
from idaq.format.reader import StoredDataset
from idaq.format.tasks_table import TASKS_TABLE, tasks_parquet

_FRONT_MATTER = re.compile(r"---\n(?P<yaml>.*?)^---\n", re.DOTALL | re.MULTILINE)


def published_files(stored: StoredDataset, published: Published) -> dict[str, bytes]:
    """Content by name. Raises MissingExtraError without mlcroissant, DatasetError."""
    return {
        layout.CARD: with_configs(read_card(stored.path) or dataset_card(stored)).encode(),
        TASKS_TABLE: tasks_parquet(stored.tasks),
        CROISSANT: croissant_text(stored, published).encode(),
    }


def configs(folder: str = "") -> str:
    """YAML of a card, by which the hub's viewer finds the tables of the dataset in `folder` below it."""
    above = f"{folder}/" if folder else ""
    tables = {"episodes": f"data/{layout.EPISODES}", "tasks": TASKS_TABLE}
    return "configs:\n" + "".join(
        f"- config_name: {name}\n  data_files: {above}{path}\n" for name, path in tables.items()
    )


def with_configs(card: str) -> str:
    """The card with `configs:` in its front matter; one that states its own keeps them."""
    found = _FRONT_MATTER.match(card)
    if found is None:
        return f"---\n{configs()}---\n{card}"
    if re.search(r"^configs:", found["yaml"], re.MULTILINE):
        return card
    return f"---\n{found['yaml']}{configs()}---\n{card[found.end() :]}"
