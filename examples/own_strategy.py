"""A strategy of one's own: model the return over beliefs by a Gaussian process, and try what may earn the most."""

import numpy as np
import typer

import idaq


@idaq.config
class Optimism(idaq.Strategy):
    """Shapes: P problems, n episodes so far, M beliefs of training tasks."""

    noise: float = 0.1
    optimism: float = 2.0

    def explore(self, history: idaq.AdaptationHistory) -> idaq.Policy:
        """The policy of every problem's next episode."""
        prior = history.prior.beliefs
        if not history.episodes:
            return history.agent.policy(prior[history.rng.integers(len(prior), size=history.problems)])
        mean, std = self.posterior(history)
        return history.agent.policy(prior[(mean + self.optimism * std).argmax(1)])

    def deploy(self, history: idaq.AdaptationHistory) -> idaq.Policy:
        """The policy to use from now on."""
        return history.agent.policy(history.prior.beliefs[self.posterior(history)[0].argmax(1)])

    def posterior(self, history: idaq.AdaptationHistory) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation (P, M) of what each belief would earn."""
        prior, tried = history.prior.beliefs[None], np.stack(history.beliefs, 1)  # (1, M, Z), (P, n, Z)
        returns = np.stack([batch.returns for batch in history.episodes], 1)
        returns = (returns - returns.mean(1, keepdims=True)) / (returns.std(1, keepdims=True) + 1e-6)

        def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return np.exp(-2 * ((a[:, :, None] - b[:, None]) ** 2).mean(-1) / prior.var())

        seen, across = kernel(tried, tried), kernel(prior, tried)
        gain = np.linalg.solve(seen + self.noise**2 * np.eye(seen.shape[1]), across.swapaxes(1, 2))
        variance = 1 - np.einsum("pmn,pnm->pm", across, gain)
        return np.einsum("pn,pnm->pm", returns, gain), np.sqrt(variance.clip(0))


def main(root: str = "data", out: str = "runs/strategy", steps: int = 2000, episodes: int = 10) -> None:
    """Train for STEPS steps, and compare with the control after EPISODES episodes."""
    dataset = idaq.open_dataset(idaq.collect(idaq.catalogue_recipe("point-robot"), root).path)
    idaq.train(dataset, idaq.training_config({"steps": steps}, dataset.manifest.recipe.train), out)
    plan = idaq.adaptation_plan(["best-of-prior"], {"episodes": episodes, "report_at": [episodes]})
    plan = idaq.AdaptPlan(config=plan.config, strategies={**plan.strategies, "optimism": Optimism()})
    for name, result in idaq.adapt(idaq.load_agent(out), dataset, plan).results.strategies.items():
        print(f"{name:14} return after {episodes} episodes: {np.mean(result.returns[-1]):.2f}")


if __name__ == "__main__":
    typer.run(main)
