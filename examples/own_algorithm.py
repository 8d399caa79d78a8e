"""An algorithm of one's own: least squares to the action, from s and the mean s of some transitions, the belief."""

import torch
import typer

import idaq


@idaq.config
class CloningConfig(idaq.TrainConfig):
    algorithm: str = "__main__:CloningConfig"  # in a module of yours: my_module:CloningConfig
    sampler: str = "meta-batches"
    meta_batch: int = 16
    batch: int = 64
    context: int = 40

    def create(self, spec, device):
        return Cloning(self, spec, None, torch.zeros(2 * spec.observation_size, spec.action_size))


class Cloning:  # what learns; with a prior and a copy of its weights, the agent
    def __init__(self, config, spec, prior, weight):
        self.config, self.spec, self.prior, self.units = config, spec, prior, idaq.Units(spec)
        self.weight, self.tensors = weight, self.state

    def infer(self, context):  # (P, K) transitions -> beliefs (P, Z)
        return self.units.columns(context)["obs"].mean(1).numpy()

    def update(self, step, batch, rng):
        seen, beliefs = self.units.columns(batch.transitions), torch.from_numpy(self.infer(batch.context))
        inputs = torch.cat([seen["obs"], beliefs[:, None].expand_as(seen["obs"])], -1).flatten(0, 1)
        error = inputs @ self.weight - seen["action"].flatten(0, 1)
        self.weight = self.weight - 0.1 * inputs.T @ error / len(error)
        return {"loss": error.square().mean()}

    def state(self):  # all that it has learned, and that the next step depends on
        return {"weight": self.weight}

    def load_state(self, state):
        self.weight = state["weight"]

    def agent(self, prior):
        return Cloning(self.config, self.spec, prior, self.weight.clone())

    def policy(self, beliefs):
        return idaq.BeliefPolicy(respond=self.act, beliefs=beliefs)

    def act(self, observations, beliefs):  # (P, D), (P, Z) -> (P, A), in the environment's units
        seen = torch.cat([self.units.observations(self.units.tensor(observations)), self.units.tensor(beliefs)], -1)
        return ((seen @ self.weight).clamp(-1, 1) * self.units.action_scale + self.units.action_centre).numpy()


def main(root: str = "data", out: str = "runs/cloning", steps: int = 1000) -> None:
    dataset = idaq.open_dataset(idaq.collect(idaq.catalogue_recipe("point-robot"), root).path)
    agent = idaq.train(dataset, CloningConfig(steps=steps), out).agent
    print(idaq.adapt(agent, dataset, idaq.adaptation_plan(["best-of-prior"])).results.strategies["best-of-prior"])


typer.run(main)
