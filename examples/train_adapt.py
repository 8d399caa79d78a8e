"""Train an agent on many tasks, adapt it to new ones, and compare strategies."""

import numpy as np
import typer

import idaq


def main(root: str = "data", out: str = "runs/example", steps: int = 2000, episodes: int = 20, seeds: int = 4) -> None:
    """Collect into ROOT, train STEPS steps into OUT, adapt with EPISODES episodes a test task and SEEDS seeds."""
    done = idaq.collect(idaq.catalogue_recipe("point-robot"), root)
    dataset = idaq.open_dataset(done.path)

    defaults = dataset.manifest.recipe.train  # what suits this dataset
    idaq.train(dataset, idaq.training_config({"steps": steps}, defaults), out)

    agent = idaq.load_agent(out)
    settings = {"episodes": episodes, "report_at": [1, episodes], "seeds": seeds}
    plan = idaq.adaptation_plan(["idaq", "idaq-mixture", "best-of-prior", "posterior"], settings)
    adapted = idaq.adapt(agent, dataset, plan)
    for name, result in adapted.results.strategies.items():
        first, last = np.mean(result.returns, axis=(1, 2))  # (budgets, tasks, seeds)
        print(f"{name:15} return after 1 episode {first:7.2f}, after {episodes} {last:7.2f}")


if __name__ == "__main__":
    typer.run(main)
