"""Datasets to and from other libraries' formats.

`sources`: other people's data as a dataset, read by `import_*`, cut into episodes by `cutting`, brought to one dtype
and space by `spaces`, by way of `importing`. Exports, each lossless, aligned and atomic, by way of `exporting`: `npz`,
`parquet`, `focal_npy`, `lerobot`, `rlds`, `minari_per_task`; in memory `frameworks`, for d3rlpy, TorchRL and torch.
What those libraries make of them is tested by `make test-interop` and listed in datasets/interop.md.
"""
