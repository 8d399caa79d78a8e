"""Algorithms compared: a matrix of datasets, algorithms, strategies and seeds, its runs, and the leaderboard."""
