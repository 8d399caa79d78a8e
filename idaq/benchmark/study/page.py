"""docs/study.md: all that the study says, calculated from its results alone."""

from collections.abc import Mapping, Sequence

from idaq.benchmark.study.figures import MEASURES, forest_rows
from idaq.benchmark.study.suites import FEW, HEADLINE, SIMULATED, Suite, means
from idaq.benchmark.study.tables import (
    TOLD,
    cost_table,
    headline_table,
    mean_tables,
    missing,
    set_table,
    standing_table,
    tried_table,
    where,
)
from idaq.benchmark.study.tried import Tried
from idaq.catalogue.suite_card import AGREE
from idaq.evaluate.protocol import OFFLINE, PRIOR
from idaq.evaluate.statistics import LEVEL

TITLES = {
    "point-robots": "Point robots",
    "ml1": "Meta-World ML1",
    "ml1-held": "Meta-World ML1, where the scripted policy is no expert",
    "bodies": "Bodies that run",
    "held-out": "Environments never trained on",
}
_NOTES = {
    "point-robots": """Hidden goals on a half-circle, dense and sparse rewards, and hidden winds; expert, medium and
mixed data.""",
    "ml1": """All 50 sets, expert data, goals hidden. Each task has 10 episodes; the published sets have 45. On six sets
Meta-World's scripted policy is no expert, and a score above 1 says little there: the next section has them with data of
a better one. Second training seeds were given first to sets on which `policy-reuse` had been behind with one.""",
    "ml1-held": """Six of the 50 sets again, with data of a script that keeps what it has solved
([`held`](../datasets/ml1/notes.md)): there Meta-World's own policy solves its task and then loses it. All else is as
above.""",
    "bodies": """Hidden velocities, directions, goals and bodies; expert and medium data. `cheetah-dir` has two tasks,
and none to choose by: it is left out.""",
    "held-out": """Meta-World's ML10 and ML45: 10 and 45 environments to learn from, and five test environments that are
in no training data. Published there is meta-RL that collects its own data while it learns (MAML-TRPO: 13% success on
ML10). Here agents learn from fixed data and adapt for a few episodes: another protocol, so the numbers are no
comparison.""",
}
_SIMULATED = " and ".join(f"`{name}`" for name in SIMULATED)
_HEAD = f"""# The study: which way to adapt

An agent has learned from offline data of many tasks. On a new task it may play a few episodes; then it must say which
policy to use. Which strategy makes most of so few? The control is `{PRIOR}`: it plays policies of training tasks that
lie far apart, and keeps the best. It infers nothing, and the literature does not compare with it.

**Not all strategies are told the same.** {_SIMULATED} ({TOLD}) need a **simulator of the training tasks**: they are
told what the policy of each training task earns on others. All other strategies, and the published methods, do without.
So the best strategy that is told no simulation stands beside `{HEADLINE}` in every comparison. Of the test task no
strategy is told anything but its own episodes, the reference `{OFFLINE}` apart
([who is told what](concepts/protocol.md#who-is-compared)).
"""
_PROTOCOL = f"""## Protocol

- One algorithm, `focal-td3bc`, with each recipe's settings; one configuration of the strategies a suite. Choices were
  made on validation tasks; the agents here learned from training and validation tasks. Test tasks are for this page.
- Each budget is planned and run on its own. A number is of *fresh* episodes: after its budget of adaptation episodes a
  strategy says which policy it would use, and that one plays an episode of its own ([protocol](concepts/protocol.md)).
- **Score**: (return - random) / (behaviour - random), means over the same test tasks: 0 is random actions, 1 the
  policies that made the data. `Return / behaviour` stands beside it where returns are positive. Success is the share of
  fresh episodes that solve their task.
- A mean over sets takes the same sets, and the same runs of each, for every strategy.
- A set is **ahead** where the {LEVEL:.0%} interval of the paired difference (same runs, same tasks; a two-way bootstrap
  over both) lies above zero, **behind** where it lies below, **tied** where it holds zero. Of fifty sets without any
  difference one or two would be called ahead, and as many behind; at any of several budgets, more.
- The best strategy without simulation is chosen by its mean score within {FEW} episodes on these very test tasks, which
  flatters it.
"""
_PUBLISHED = f"""### Beside published results

Published scores are the return after ten episodes over the mean return of the data learned from. Their data and ours
differ: only sets whose two means lie within {AGREE:.0%} of each other stand here, with both quotients.
"""
_TRIED = """## What was tried

What was tried on the way and kept out. Where no command stands, nothing that is kept makes it again.
"""
_COST = """## Cost

Processor time, of one thread; all strategies together, the simulation of training tasks too. Collecting the data is not
in it.
"""
_AGAIN = """## How to make it again

Runs of a set, from nothing; with `--plan`, what they take:

<!-- not run: these take hours -->
```bash
idaq bench study/ml1 --only idaq/ml1-reach/expert-v0 --results datasets/study/results
```

The matrices are `study/point-robots`, `study/ml1`, `study/ml1-held`, `study/bodies` and `study/held-out`
(`datasets/study`). What the runs came to is in `datasets/study/results`, episode by episode; this page and its figures
are calculated from it:

<!-- not run: it writes into a checkout -->
```bash
python -m idaq.benchmark.study
```
"""


def study_page(suites: Sequence[Suite], tried: Tried, more: Mapping[str, Sequence[str]]) -> str:
    """Markdown. `more`: by suite, what stands at the end of its section, and beside published results."""
    parts = [_HEAD, _state(suites), _PROTOCOL]
    for suite in suites:
        parts += _section(suite)
        at_end, published = more.get(suite.matrix.name, ("", ""))
        parts += [at_end, _PUBLISHED + "\n" + published if published else ""]
    parts += [_TRIED, tried_table(tried) or "Nothing is noted yet.\n"]
    costs = cost_table(suites)
    parts += [_COST, costs] if costs else []
    return "\n".join(part for part in [*parts, _AGAIN] if part)


def _state(suites: Sequence[Suite]) -> str:
    done = sum(len(kept.runs) for suite in suites for kept in suite.kept.values())
    asked = sum(len(suite.matrix.datasets) * len(suite.matrix.train_seeds) for suite in suites)
    absent = "" if done == asked else " What is missing stands at the end of each suite."
    return f"**{done} of {asked} runs are finished.**{absent}\n"


def _section(suite: Suite) -> list[str]:
    head = [f"## {TITLES[suite.matrix.name]}\n", f"{_NOTES[suite.matrix.name]}\n"]
    if not any(kept.runs for kept in suite.kept.values()):
        return [*head, "No run is finished yet.\n"]
    tables = [mean_tables(suite), standing_table(suite), set_table(suite), missing(suite)]
    return [*head, _simulated(suite), headline_table(suite), where(suite), _figures(suite), *tables]


def _simulated(suite: Suite) -> str:
    """What those that are told a simulation were told."""
    configs = {(kept.config.cross_tasks, kept.config.cross_episodes) for kept in suite.kept.values() if kept.runs}
    plays = sorted(f"{tasks or 'all'} training tasks in {episodes} episodes each" for tasks, episodes in configs)
    if not any(name in suite.strategies for name in SIMULATED):
        return ""
    said = f"{TOLD}: told what every training task's policy earns on {' or '.join(plays)}"
    return f"{said}, or in one where all are alike.\n"


def _figures(suite: Suite) -> str:
    name, title = suite.matrix.name, TITLES[suite.matrix.name]
    forest = f"![{title}: difference of scores to {PRIOR}, set by set, with intervals](study/{name}-forest.svg)\n"
    curves = f"![{title}: mean score against adaptation episodes, strategy by strategy](study/{name}-curves.svg)\n"
    drawn = {forest: forest_rows(suite), curves: [one for of in MEASURES.values() for one in means(suite, of).sets]}
    return "\n".join(link for link, of in drawn.items() if of)
