"""Algorithms whose belief is a latent z: a context encoder, and a policy that is conditioned on what it says.

What differs between them is what the encoder learns from (an `Objective`, in each algorithm's own file) and what learns
the policy (`idaq.learn.learners`). What no paper varies is here: the step, the encoder, the ensemble, the agent.
"""
