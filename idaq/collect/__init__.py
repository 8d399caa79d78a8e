"""recipe -> behaviour policies -> rollouts -> shards -> dataset. Called, it collects: `idaq.collect(recipe, root)`."""

from idaq.core.lazy import make_callable

make_callable(__name__)
