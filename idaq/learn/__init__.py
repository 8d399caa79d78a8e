"""Offline meta-training: context encoders, policy learners, uncertainty ensembles, the one loop, checkpoints."""
