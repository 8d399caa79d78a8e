"""Datasets to and from other libraries' formats.

`exporters`: exporters by name, and `export`. Each is lossless, aligned and atomic: `npz`, `parquet`, `focal_npy`,
`lerobot`, `rlds`, `minari_per_task`, all on what `exporting` shares; `frameworks` converts in memory, for d3rlpy,
TorchRL and torch. What those libraries make of them is tested by `make test-interop`: datasets/interop.md.

`importers`: importers by name, and `import_dataset`, the whole way to a verified dataset. `sources` puts together what
they read (`import_*`), `cutting` makes episodes of rows, `spaces` one dtype and space, `importing` what is written.
"""
