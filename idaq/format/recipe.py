"""The recipe: all that determines a dataset's content. A TOML file in the catalogue; stored whole in the manifest."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from idaq.core.config import config
from idaq.core.errors import UsageError
from idaq.core.ids import SCHEMA, parse_id
from idaq.core.notes import Notes
from idaq.core.registry import is_reference
from idaq.core.types import LONGEST_LINE, FamilyName, Line, PlainData, PolicyName, Sha256, Slug, VersionOne


def _is_id(value: str) -> str:
    try:
        return str(parse_id(value))
    except UsageError as error:
        raise ValueError(f"is not a dataset id; {error.hint}") from None


DatasetName = Annotated[str, AfterValidator(_is_id), Field(json_schema_extra=SCHEMA)]
"""namespace/family/name-vN"""
LONGEST_CITATION = 10_000
Citation = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_CITATION)]


@config
class Behaviour:
    """One behaviour policy. Actions are in units of the largest action, clipped to [-1, 1]."""

    name: Slug
    kind: Literal["scripted", "trained", "policy", "random", "mixture", "unknown"]
    """scripted: the family's controller plus noise; trained: a policy of the catalogue; policy: any other, which
    `policy` names, one that learns too; random: uniform; mixture: each step scripted or random; unknown: imported,
    which cannot be collected"""
    quality: Literal["expert", "late", "medium", "random", "learning", "unknown"]
    episodes: Annotated[int, Field(ge=1, le=1_000_000)]
    """episodes for each task"""
    histories: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """policy: into how many learning histories of equal length the episodes of a task fall; within one the policy goes
    on learning from episode to episode. None: each episode stands alone"""
    noise: Annotated[float, Field(ge=0)] = 0.0
    """standard deviation of the Gaussian noise on each action of a script or a policy; trained: in units of the
    policy's own"""
    random_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """mixture and policy: the chance that a step is the random policy's"""
    policy: PolicyName | None = None
    """trained: the snapshot's name in datasets/<family>/behaviours, or `TRAINING/SNAPSHOT` for one of a folder in it,
    such as `per-task/final`; policy: `q-learning`, `hold-at-goal`, an installed package's, of
    the group `idaq.behaviours`, or `package.module:thing`; see `idaq.collect.behaviours.BehaviourFactory`"""
    trained_on: FamilyName | None = None
    """trained: the family whose policy it is, where that is another with the same tasks: the point robot with dense
    reward, whose policies collect the data with sparse reward"""
    options: PlainData = Field(default_factory=dict)
    """policy: what its maker gets"""
    weights: Sha256 | None = None
    """trained, and policy where it reads a file: sha256 of its weights, so that the recipe determines the data"""

    @model_validator(mode="after")
    def _what_names_a_policy(self) -> "Behaviour":
        named, weighed = self.policy is not None, self.weights is not None
        if self.kind == "policy":
            if not named:
                raise ValueError('a behaviour of kind "policy" names its policy')
        elif (named, weighed) != (self.kind == "trained",) * 2 or (self.policy and is_reference(self.policy)):
            raise ValueError("a trained behaviour names its policy and the sha256 of its weights, and no other does")
        elif self.options or self.histories:
            raise ValueError('a behaviour of kind "policy" takes options and histories, and no other does')
        if self.trained_on and self.kind != "trained":
            raise ValueError("a trained behaviour states trained_on, and no other does")
        return self

    @model_validator(mode="after")
    def _histories_are_of_equal_length(self) -> "Behaviour":
        if self.histories and self.episodes % self.histories:
            said = f"{self.episodes} episodes make no {self.histories} histories of equal length"
            raise ValueError(f"{said}: a multiple of {self.histories} is needed")
        return self


@config
class Splits:
    """How many tasks each split gets, drawn by a seeded permutation of the family's tasks."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    sizes: Annotated[dict[Slug, Annotated[int, Field(ge=0, lt=2**63)]], Field(min_length=1)]
    assigned_by: Literal["recipe", "family"] = "recipe"
    """recipe: each split is drawn from all tasks; family: from those that the family states to be of that split, and a
    split that the family does not state from those of its split `train`"""
    balance: str | None = None
    """a parameter of the tasks: of each of its values equally many tasks are drawn, give or take one"""


@config
class Reference:
    """The returns that normalise scores, measured for each task. The behaviour's is that of the collected episodes."""

    random_episodes: Annotated[int, Field(ge=2, le=1_000_000)] = 50


@config
class Recipe:
    """What to collect, and the settings that suit learning from it."""

    recipe_version: VersionOne = 1
    id: DatasetName
    """namespace/family/name-vN"""
    family: str
    description: str
    authors: list[Line] = Field(default_factory=list)
    """whose data it is; empty where it is not known"""
    license: Line | None = None
    """under which it may be used: an SPDX identifier or other words; null where it is not known"""
    citation: Citation | None = None
    """how to cite it, BibTeX say"""
    source: Line | None = None
    """where it came from: a URL, or words"""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    splits: Splits
    behaviours: Annotated[list[Behaviour], Field(min_length=1)]
    compress: list[Line] = Field(default_factory=list)
    """columns to compress, such as pictures: `observations`, or of a Dict space `observations/camera`"""
    expert_action: bool = False
    """whether each state has what the family's controller does there, without noise, as the column `expert_action`"""
    reference: Reference = Field(default_factory=Reference)
    train: PlainData = Field(default_factory=dict)
    """defaults of `idaq train` for this dataset"""
    adapt: PlainData = Field(default_factory=dict)
    """defaults of `idaq adapt` for this dataset"""

    @model_validator(mode="after")
    def _names_are_unique(self) -> "Recipe":
        names = [behaviour.name for behaviour in self.behaviours]
        if len(set(names)) != len(names):
            raise ValueError(f"behaviour names must differ, got {names}")
        return self


def without_splits(train: Mapping[str, Any], lost: Collection[str]) -> dict[str, Any]:
    """Training settings that learn from none of the splits that are lost; by their default where nothing is left."""
    named = train.get("split")
    if not isinstance(named, str):
        return dict(train)
    left = "+".join(name for name in named.split("+") if name not in lost)
    return {key: left if key == "split" else value for key, value in train.items() if key != "split" or left}


class Attributed(Protocol):
    """What states authors, licence, citation and source, as far as they are known: a recipe, an import."""

    @property
    def authors(self) -> Sequence[str]: ...
    @property
    def license(self) -> str | None: ...
    @property
    def citation(self) -> str | None: ...
    @property
    def source(self) -> str | None: ...


def attribution_notes(recipe: Recipe) -> list[str]:
    """A note where authors or licence of a dataset are unknown; empty where both are stated."""
    missing = [name for name, value in (("authors", recipe.authors), ("licence", recipe.license)) if not value]
    return [f"{' and '.join(missing)} of {recipe.id} unknown; the card says so"] if missing else []


def join_attribution(parts: Sequence[tuple[str, Attributed]], notes: Notes) -> tuple[list[str], str | None]:
    """Authors and licence of data made of several, by name: all authors; all licences, if all are known."""
    authors = list(dict.fromkeys(author for _, part in parts for author in part.authors))
    licenses = list(dict.fromkeys(part.license for _, part in parts))
    nameless = [name for name, part in parts if not part.authors]
    if authors and nameless:
        notes.add(", ".join(nameless), "authors unknown: the others alone are named")
    if len(licenses) == 1:
        return authors, licenses[0]
    stated = " AND ".join(dict.fromkeys(name for text in licenses if text for name in text.split(" AND ")))
    if None not in licenses:
        notes.add(", ".join(name for name, _ in parts), f"licences differ, and all apply: {stated}")
        return authors, stated
    bare = ", ".join(name for name, part in parts if part.license is None)
    notes.add(bare, f"licence unknown, hence of the whole (the rest: {stated})")
    return authors, None


def join_origins(parts: Sequence[tuple[str, Attributed]], notes: Notes) -> tuple[str | None, str | None]:
    """Citations and sources of data made of several, by name: all that are stated, as far as a recipe has room."""
    stated = {"citations": list[str](), "sources": list[str]()}
    for _, part in parts:
        stated["citations"] += [part.citation] if part.citation else []
        stated["sources"] += [part.source] if part.source else []
    joined = list[str | None]()
    for what, longest, between in (("citations", LONGEST_CITATION, "\n\n"), ("sources", LONGEST_LINE, "; ")):
        text = between.join(dict.fromkeys(stated[what]))
        if len(text) > longest:
            notes.add(", ".join(name for name, _ in parts), f"{what} have more than {longest} characters: left out")
        joined.append(text if 0 < len(text) <= longest else None)
    return joined[0], joined[1]


SETS = "sets"
"""in a suite's file: the names that it is for, where it is not for all"""


def for_family(mapping: dict[str, Any], family: str) -> dict[str, Any]:
    """A catalogue file's recipe for one family: in a suite's file every `*` stands for the name in `suite/name`."""
    _, slash, name = family.partition("/")

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(inner) for key, inner in value.items()}
        return value.replace("*", name) if isinstance(value, str) else value

    return filled({key: value for key, value in mapping.items() if key != SETS}) if slash else mapping
