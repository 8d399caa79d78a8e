"""Datasets to and from elsewhere: exports to other libraries' formats, each lossless, aligned and atomic.

Files: `npz`, `parquet`, `focal_npy`, `lerobot`, `rlds`, `minari_per_task`. Objects in memory: `frameworks`, for d3rlpy,
TorchRL and torch. What the libraries make of them is tested by `make test-interop` and listed in datasets/interop.md.
"""
