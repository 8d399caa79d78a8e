"""Datasets to and from elsewhere: hubs, imports, and exports to other libraries' formats.

`hub_*`: push, pull, list, show. `import_*`: other people's data as a dataset, by way of `importing`. Exports, each
lossless, aligned and atomic, by way of `exporting`: `npz`, `parquet`, `focal_npy`, `lerobot`, `rlds`,
`minari_per_task`; in memory `frameworks`, for d3rlpy, TorchRL and torch. What those libraries make of them is tested by
`make test-interop` and listed in datasets/interop.md.
"""
