"""Benchmarks: ratios against the alternative, in the same process, interleaved. `make bench` prints them."""
