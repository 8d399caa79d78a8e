"""`python -m idaq.benchmark.study` writes docs/study.md of a checkout, its figures, and the tables of other pages."""

from pathlib import Path

from idaq.benchmark.study.files import write_study
from idaq.core.resources import resource_root

if __name__ == "__main__":
    write_study(resource_root("datasets"), Path())
