"""Where metrics go beside metrics.jsonl: `idaq train --log csv`, `tensorboard`, `wandb`, or yours. No torch here."""

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

from idaq.core.errors import RunError
from idaq.core.outside import raised_as
from idaq.core.registry import Registry, check_members

OnMetrics = Callable[[int, Mapping[str, float]], object]
"""told each step that is logged, and its values"""


class MetricLogger(Protocol):
    """One place that metrics go to."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Finite numbers by name, after training step number `step`, which only grows."""
        ...

    def close(self) -> None:
        """No more will come in this process; a resumed run opens another."""
        ...


OpenLogger = Callable[[Path, Mapping[str, Any], int], MetricLogger]
"""run directory, config, first step -> a logger. What an interrupted run has logged of `first` and later steps comes
again, so that it is to be dropped."""


def _accept(_name: str, thing: object) -> OpenLogger:
    if not callable(thing):
        raise TypeError("it cannot be called with a run directory, its config and the first step")
    return cast(OpenLogger, thing)


_HERE = "idaq.learn.loggers"
LOGGERS: Registry[OpenLogger] = Registry(
    "logger",
    "idaq.loggers",
    {
        "csv": f"{_HERE}.csv:CsvLogger",
        "tensorboard": f"{_HERE}.tensorboard:TensorBoardLogger",
        "wandb": f"{_HERE}.wandb:WandbLogger",
    },
    _accept,
)


def find_loggers(names: Iterable[str]) -> dict[str, OpenLogger]:
    """The loggers that a user has named, each once. Raises UnknownNameError, MissingExtraError, PluginError."""
    return {name: LOGGERS.get(name) for name in names}


@contextmanager
def logging_to(
    openers: Mapping[str, OpenLogger], run: Path, config: Mapping[str, Any], first: int
) -> Generator[OnMetrics]:
    """A function that tells all of them; they are closed at the end. Raises RunError for what one of them raises."""
    with ExitStack() as stack:
        opened: dict[str, MetricLogger] = {}
        for name, opener in openers.items():
            with raised_as(RunError, f"logger {name}"):
                opened[name] = opener(run, config, first)
            check_members(MetricLogger, opened[name], f"logger {name}")
            stack.callback(opened[name].close)

        def tell(step: int, values: Mapping[str, float]) -> None:
            for name, logger in opened.items():
                with raised_as(RunError, f"logger {name}"):
                    logger.log(step, values)

        yield tell
