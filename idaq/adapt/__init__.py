"""Online adaptation: strategies (IDAQ and its rivals) and the uncertainties that score an episode."""

from idaq.core.lazy import make_callable

make_callable(__name__)  # idaq.adapt(...) is idaq.adapt.adapt.adapt(...)
