"""The seam of adaptation: what a strategy is, strategies by name, and the settings of an adaptation.

A strategy is its settings and two functions of the history so far; it holds no state of its own, so that an adaptation
can be saved and resumed between episodes.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from idaq.adapt.config import AdaptConfig, Role
from idaq.adapt.history import AdaptationHistory
from idaq.adapt.policy import Policy
from idaq.core.config import config, from_mapping, merge, to_mapping
from idaq.core.errors import ConfigError, unknown_name
from idaq.core.registry import Registry, check_document
from idaq.learn.algorithm import Agent


@config
class Strategy(ABC):
    """How to explore and what to deploy. A strategy's settings are the fields of a class that extends this one."""

    uses_offline_data: ClassVar[bool] = False
    """whether it looks at the test tasks' own offline data"""
    uses_cross_returns: ClassVar[bool] = False
    """whether it looks at `history.cross_returns`, for which training tasks are simulated"""
    own_way_of: ClassVar[type] = object
    """the kind of agent whose own way it is; to others it is not offered unless it is named"""

    @property
    def role(self) -> Role:
        """What it is in a comparison."""
        return "rival"

    @property
    def requires(self) -> type:
        """The protocol that an agent must fulfil beyond `Agent`, such as `PredictingAgent`."""
        return object

    @property
    def anytime(self) -> bool:
        """Whether what it explores and deploys does not depend on the budget: one run then serves every budget."""
        return False

    def reference_stage(self, budget: int) -> int:
        """Episodes at the beginning of a budget in which it draws from the prior alone, as best-of-prior does."""
        return 0

    @abstractmethod
    def explore(self, history: AdaptationHistory) -> Policy:
        """The policy of every problem's next episode."""

    @abstractmethod
    def deploy(self, history: AdaptationHistory) -> Policy:
        """The policy to use from now on. The history stays as it is, its generator too: adaptation may go on."""


def _accept(_name: str, thing: object) -> Strategy:
    if isinstance(thing, type) and issubclass(thing, Strategy):
        return thing()
    if isinstance(thing, Strategy):
        return thing
    raise TypeError(f"{thing!r} does not extend idaq.adapt.strategy.Strategy")


_FILE = "idaq.adapt.strategies"
STRATEGIES: Registry[Strategy] = Registry(
    "strategy",
    "idaq.strategies",
    {
        "idaq": f"{_FILE}:Idaq",
        "idaq-prediction-error": f"{_FILE}:IDAQ_PREDICTION_ERROR",
        "idaq-prediction-variance": f"{_FILE}:IDAQ_PREDICTION_VARIANCE",
        "idaq-mixture": f"{_FILE}:IdaqMixture",
        "nearest-training-task": f"{_FILE}:NearestTrainingTask",
        "nearest-training-task-prediction-error": f"{_FILE}:NEAREST_PREDICTION_ERROR",
        "nearest-training-task-prediction-variance": f"{_FILE}:NEAREST_PREDICTION_VARIANCE",
        "policy-reuse": "idaq.adapt.policy_reuse:PolicyReuse",
        "best-average": "idaq.adapt.policy_reuse:BestAverage",
        "gaussian-process": "idaq.adapt.gaussian_process:GaussianProcess",
        "best-of-prior": f"{_FILE}:BestOfPrior",
        "posterior": f"{_FILE}:Posterior",
        "random-first": f"{_FILE}:RandomFirst",
        "in-context": f"{_FILE}:InContext",
        "offline-context": f"{_FILE}:OfflineContext",
    },
    _accept,
)


def default_strategy(agent: Agent) -> str:
    """What adapts where no strategy is named: `policy-reuse` where the agent's cross returns were measured, else
    `gaussian-process`, which needs none. Chosen on validation tasks (docs/study.md)."""
    measured = agent.prior is not None and agent.prior.cross_returns is not None
    return "policy-reuse" if measured else "gaussian-process"


@dataclass(frozen=True, kw_only=True)
class AdaptPlan:
    """What to run: one protocol, and strategies by name."""

    config: AdaptConfig
    strategies: Mapping[str, Strategy]


def adaptation_plan(
    names: Iterable[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    *,
    allow: Collection[str] = (),
) -> AdaptPlan:
    """The strategies that a user has named, all built-in ones for None, each with its settings.

    A setting of the protocol is for all; any other reaches every strategy that has it, or, in a table of a strategy's
    name, that strategy alone. `settings` are the user's and go first; `defaults` come from a document, such as a
    dataset's recipe: a `package.module:thing` in them must be among `allow`. Raises UnknownNameError, PluginError, and
    ConfigError for a setting that nothing has.
    """
    from_document = dict(defaults or {})
    check_document(from_document, "the adaptation settings", allow)
    chosen = {name: STRATEGIES.get(name) for name in (STRATEGIES.builtin if names is None else names)}
    known = {**{name: STRATEGIES.get(name) for name in STRATEGIES.builtin}, **chosen}
    given = merge(from_document, settings or {})
    _check_names(given, known)
    protocol = _names_of(AdaptConfig)
    return AdaptPlan(
        config=from_mapping(
            AdaptConfig, {key: value for key, value in given.items() if key in protocol}, where="adaptation settings"
        ),
        strategies={
            name: configured(name, strategy, [from_document, settings or {}]) for name, strategy in chosen.items()
        },
    )


def configured(name: str, strategy: Strategy, tables: Iterable[Mapping[str, Any]]) -> Strategy:
    """A strategy with the settings of each table on top of the one before."""
    mapping = to_mapping(strategy)
    for table in tables:
        mapping |= {key: value for key, value in table.items() if key in mapping and not isinstance(value, Mapping)}
        own = table.get(name)
        mapping |= own if isinstance(own, Mapping) else {}
    return from_mapping(type(strategy), mapping, where=f"settings of strategy {name}")


def _check_names(given: Mapping[str, Any], known: Mapping[str, Strategy]) -> None:
    settings = {setting for strategy in known.values() for setting in _names_of(type(strategy))}
    for key, value in given.items():
        names = set(known) if isinstance(value, Mapping) else settings | _names_of(AdaptConfig)
        if key not in names:
            hint = unknown_name("setting", key, names).hint
            raise ConfigError(f"adaptation settings: {key}: there is no such field", hint=hint)


def _names_of(cls: type[Any]) -> set[str]:
    return {field.name for field in fields(cls)}
