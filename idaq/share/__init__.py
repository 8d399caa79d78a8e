"""Datasets to and from other libraries' formats.

`exporters`: exporters by name, and `export`. Each is lossless, aligned and atomic: `npz`, `parquet`, `focal_npy`,
`lerobot`, `rlds`, `minari_per_task`, all on what `exporting` shares; `frameworks` converts in memory, for d3rlpy,
TorchRL and torch. What those libraries make of them is tested by `make test-interop`: datasets/interop.md.

`sources`: other people's data as a dataset, read by `import_*`, cut into episodes by `cutting`, brought to one dtype
and space by `spaces`, by way of `importing`.
"""
