"""The strategies that ship: IDAQ and its rivals, each named for what it does.

`idaq` is the paper's rule, under one of three uncertainties. `idaq-mixture` and `nearest-training-task` are our own
variants of it: the first mixes the best episodes, the second infers no belief at all. The others are rivals and
controls; `offline-context` is a reference, not a bound: other beliefs may serve the policy better.

All work on P problems (test task x seed) at once. Shapes: P problems, n episodes so far, M training tasks, Z belief.
"""

from typing import Annotated, ClassVar, Literal

import numpy as np
from jaxtyping import Bool
from pydantic import Field

from idaq.adapt.beliefs import (
    accepted_by_idaq,
    aside,
    belief_of_all,
    belief_of_experience,
    best_belief,
    best_episodes,
    farthest,
    from_prior,
    in_distribution_return,
    mixture,
    pooled,
    where_calibrated,
)
from idaq.adapt.config import Role
from idaq.adapt.history import AdaptationHistory
from idaq.adapt.policy import Policy, RandomPolicy
from idaq.adapt.strategy import Strategy
from idaq.core.config import config
from idaq.core.errors import RunError
from idaq.core.types import AtLeastOne
from idaq.learn.algorithm import EpisodicAgent, PredictingAgent, SamplingAgent

Context = Annotated[int, Field(ge=2)]
Share = Annotated[float, Field(ge=0, le=1)]


@config
class SearchingStrategy(Strategy):
    """Draws from the prior for a reference stage, and deploys the belief of the most in-distribution episode."""

    reference: AtLeastOne | Literal["half"] = "half"
    """n_r: episodes of the reference stage; half: of the budget, one at least, as the paper has it"""
    candidates: AtLeastOne = 20
    """n_c: beliefs drawn for each choice of the farthest"""
    uncertainty: str = "return"
    """what scores an episode: return, prediction-error, prediction-variance, or one of yours"""

    @property
    def requires(self) -> type:
        """An agent that predicts outcomes, where predictions score the episodes."""
        return PredictingAgent if self.uncertainty in ("prediction-error", "prediction-variance") else object

    @property
    def anytime(self) -> bool:
        """Where the reference stage is of one length."""
        return self.reference != "half"

    def reference_stage(self, budget: int) -> int:
        """n_r"""
        return _half(budget) if self.reference == "half" else self.reference

    def deploy(self, history: AdaptationHistory) -> Policy:
        """The most in-distribution episode's belief."""
        return history.agent.policy(best_belief(history, self.uncertainty))


@config
class Idaq(SearchingStrategy):
    """The paper's rule: calibrate a threshold on the prior, then explore from what it accepts.

    Wang et al., "Offline Meta RL with In-Distribution Online Adaptation", ICML 2023, algorithm 1. Where its code
    (NagisaZj/IDAQ_Public) differs from it, or we do:

    - accepted is Q strictly below the threshold (code; paper: Q <= delta), so that an episode played again is not;
    - an accepted Q becomes the threshold under every uncertainty. The code does so under the return alone: under
      predictions the reference stage's stays, which is `moving_threshold=false`;
    - a belief is of `context` transitions of the accepted episodes, so that the draws of which the farthest is played
      differ (paper). In the code it is of all of them, without chance: the draws are one and the same;
    - a rejected episode leaves the context as it is (paper). The code also takes out the episode accepted last;
    - deployed is the best episode's belief (paper). The code plays it in the last episode under the return alone;
    - the variance is over the members (paper); the code's is over the time steps.
    """

    context: Context = 100
    """transitions drawn from the accepted episodes for each belief"""
    moving_threshold: bool = True
    """whether the score of an accepted episode is the threshold for the next; false: that of the reference stage is"""
    return_threshold: float | None = None
    """the code's `r_thres` (is_onlineadapt_thres): a fixed threshold in place of the calibrated one. An episode enters
    the context where its return is above it, in the reference stage too, which goes on until one does; what is
    deployed is the belief of all these. (In the code each draw from the prior also empties the context.)"""

    @property
    def role(self) -> Role:
        """The method itself under the uncertainty that the paper reports; a variant under others."""
        as_reported = self.uncertainty == "return" and self.moving_threshold and self.return_threshold is None
        return "method" if as_reported else "variant"

    def explore(self, history: AdaptationHistory) -> Policy:
        """Reference stage: spread over the prior. Iterative stage: spread over beliefs of the accepted episodes."""
        if len(history.episodes) < self.reference_stage(history.budget):
            return history.agent.policy(from_prior(history, self.candidates))
        accepted = self.accepted(history)
        if self.return_threshold is None:
            drawn = pooled(history, accepted, self.candidates, self.context)
            return history.agent.policy(farthest(drawn, history.beliefs))
        some, prior = np.count_nonzero(accepted, axis=0) > 0, from_prior(history, self.candidates)
        drawn = farthest(pooled(history, accepted | ~some, self.candidates, self.context), history.beliefs)
        return history.agent.policy(np.where(some[:, None], drawn, prior))

    def deploy(self, history: AdaptationHistory) -> Policy:
        """The most in-distribution episode's belief; with a return threshold, that of the accepted, if there are."""
        best = best_belief(history, self.uncertainty)
        if self.return_threshold is None:
            return history.agent.policy(best)
        accepted = self.accepted(history)
        some = np.count_nonzero(accepted, axis=0) > 0
        drawn = pooled(aside(history), accepted | ~some, 1, self.context)[:, 0]
        return history.agent.policy(np.where(some[:, None], drawn, best))

    def accepted(self, history: AdaptationHistory) -> Bool[np.ndarray, "n P"]:
        """Which episodes are in the context. (n, P)"""
        if self.return_threshold is not None:
            return history.scores("return") < -self.return_threshold
        stage = self.reference_stage(history.budget)
        return accepted_by_idaq(history.scores(self.uncertainty), stage, self.moving_threshold)


@config
class IdaqMixture(SearchingStrategy):
    """Our variant of idaq: after the reference stage, mixtures of the `num_accepted` best episodes."""

    context: Context = 100
    """transitions drawn from the best episodes for each belief"""
    num_accepted: AtLeastOne = 3
    """how many of the best episodes are mixed"""
    offline_share: Share = 0.0
    """an episode counts as in-distribution only with a return of at least this share of the way from random actions to
    what the training tasks' offline episodes earn; until one does, the reference stage goes on. 0: no such floor"""

    @property
    def role(self) -> Role:
        """A variant of the method."""
        return "variant"

    def explore(self, history: AdaptationHistory) -> Policy:
        """Reference stage: spread over the prior. Then: spread over mixtures of the best episodes."""
        prior, floor = from_prior(history, self.candidates), in_distribution_return(history, self.offline_share)
        if len(history.episodes) < self.reference_stage(history.budget):
            return history.agent.policy(prior)
        accepted = best_episodes(history.scores(self.uncertainty), np.stack(history.beliefs), self.num_accepted)
        drawn = farthest(mixture(history, accepted, self.candidates, self.context), history.beliefs)
        return history.agent.policy(where_calibrated(history, self.uncertainty, floor, drawn, prior))


@config
class NearestTrainingTask(SearchingStrategy):
    """After the reference stage: of the training tasks' beliefs not played yet, the nearest to the best episode's.

    No belief is inferred: of the online data only the scores are used, not the transitions. The policy has been trained
    under these beliefs, and never under those between them.
    """

    offline_share: Share = 0.0
    """as for idaq-mixture"""

    def explore(self, history: AdaptationHistory) -> Policy:
        """Reference stage: spread over the prior. Then: the nearest training task's belief."""
        prior, floor = from_prior(history, self.candidates), in_distribution_return(history, self.offline_share)
        if len(history.episodes) < self.reference_stage(history.budget):
            return history.agent.policy(prior)
        best_PZ, played_nPZ = best_belief(history, self.uncertainty), np.stack(history.beliefs)
        known_MZ = history.prior.beliefs
        distances_PM = ((known_MZ - best_PZ[:, None]) ** 2).sum(-1)
        was_played_PM = np.stack([(known_MZ == played_PZ[:, None]).all(-1) for played_PZ in played_nPZ]).any(0)
        nearest = known_MZ[np.where(was_played_PM, np.inf, distances_PM).argmin(-1)]
        return history.agent.policy(where_calibrated(history, self.uncertainty, floor, nearest, prior))


@config
class BestOfPrior(Strategy):
    """Searches without a belief: draws from the prior to the end, and deploys the one that earned the most."""

    candidates: AtLeastOne = 20

    @property
    def role(self) -> Role:
        """What every other strategy's difference is given to."""
        return "control"

    @property
    def anytime(self) -> bool:
        """It does the same to the end."""
        return True

    def explore(self, history: AdaptationHistory) -> Policy:
        """Spread over the prior."""
        return history.agent.policy(from_prior(history, self.candidates))

    def deploy(self, history: AdaptationHistory) -> Policy:
        """The belief of the episode with the highest return."""
        return history.agent.policy(best_belief(history, "return"))


@config
class Posterior(Strategy):
    """The belief of everything seen so far, from a first draw from the prior on.

    As FOCAL online, whose published code begins with z = 0 instead, which was never seen in training.
    """

    candidates: AtLeastOne = 20
    context: Context = 100

    @property
    def anytime(self) -> bool:
        """It does the same from the second episode on."""
        return True

    def explore(self, history: AdaptationHistory) -> Policy:
        """The prior first, then the belief of everything."""
        drawn = belief_of_all(history, self.context) if history.episodes else from_prior(history, self.candidates)
        return history.agent.policy(drawn)

    def deploy(self, history: AdaptationHistory) -> Policy:
        """The belief of everything: the one that the next episode would be played under."""
        return history.agent.policy(belief_of_all(aside(history), self.context))


@config
class RandomFirst(Strategy):
    """Uniform random actions for half the budget, once at least, then the belief of everything (CSRO online)."""

    context: Context = 100

    def explore(self, history: AdaptationHistory) -> Policy:
        """Random actions, then the belief of everything."""
        if len(history.episodes) < _half(history.budget):
            return RandomPolicy(history.agent.spec, history.problems, history.rng)
        return history.agent.policy(belief_of_all(history, self.context))

    def deploy(self, history: AdaptationHistory) -> Policy:
        """The belief of everything: the one that the next episode would be played under."""
        return history.agent.policy(belief_of_all(aside(history), self.context))


@config
class InContext(Strategy):
    """The own way of agents that infer from whole episodes: the belief of all own episodes, from none at all on.

    A sequence model acts while it learns, a gradient learner fine-tunes on what it has done. No draw from the prior, no
    random action, no choice among episodes (as DPT, AD, BOReL and MACAW are run online). An agent whose actions can be
    drawn explores by drawing them, and deploys the likeliest.
    """

    own_way_of: ClassVar[type] = EpisodicAgent

    @property
    def requires(self) -> type:
        """An agent that infers from whole episodes."""
        return EpisodicAgent

    @property
    def anytime(self) -> bool:
        """It does the same from the first episode on."""
        return True

    def explore(self, history: AdaptationHistory) -> Policy:
        """The policy under the belief of everything so far, its actions drawn where they can be."""
        agent = history.agent
        if isinstance(agent, SamplingAgent):
            return agent.sampled_policy(belief_of_experience(history), history.rng)
        return self.deploy(history)

    def deploy(self, history: AdaptationHistory) -> Policy:
        """The policy under the belief of everything so far."""
        return history.agent.policy(belief_of_experience(history))


@config
class OfflineContext(Strategy):
    """The belief from the test task's own offline data, as the literature's offline protocol gives it: a reference."""

    uses_offline_data: ClassVar[bool] = True
    offline_context: Context = 400
    """offline transitions behind each belief"""

    @property
    def role(self) -> Role:
        """It is told what the others must find out."""
        return "reference"

    @property
    def anytime(self) -> bool:
        """It learns nothing."""
        return True

    def explore(self, history: AdaptationHistory) -> Policy:
        """The belief from offline data."""
        return self.deploy(history)

    def deploy(self, history: AdaptationHistory) -> Policy:
        """The belief from offline data. Raises RunError without such data."""
        if history.offline is None:
            raise RunError("offline-context needs the dataset, for the test tasks' own data", hint="--root FOLDER")
        return history.agent.policy(history.offline(self.offline_context))


def _half(budget: int) -> int:
    return max(1, budget // 2)


IDAQ_PREDICTION_ERROR = Idaq(uncertainty="prediction-error")
IDAQ_PREDICTION_VARIANCE = Idaq(uncertainty="prediction-variance")
NEAREST_PREDICTION_ERROR = NearestTrainingTask(uncertainty="prediction-error")
NEAREST_PREDICTION_VARIANCE = NearestTrainingTask(uncertainty="prediction-variance")
