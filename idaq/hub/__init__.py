"""Hubs: push, pull, list.

`lookup`: what a hub holds, from its documents alone; `push`, `pull`, and `tasks`: some tasks of a dataset, by their
bytes alone. One file a backend, each a `remote.Remote`: `hugging_face`, `http`, `object_store`.
"""
