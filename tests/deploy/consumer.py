"""Runs in an environment that has no idaq: acts with a policy folder's own script, on observations of a file.

python consumer.py RUNTIME FOLDER OBSERVATIONS.npy ACTIONS.npy [SITE-PACKAGES]
"""

import sys
from importlib import import_module
from importlib.util import find_spec


def refuses(policy, observation):
    try:
        policy(observation)
    except ValueError as error:
        return "finite numbers are an observation" in str(error)
    return False


runtime, folder, seen, acted, *site = sys.argv[1:]
sys.path[:] = [folder, *sys.path, *site]
assert find_spec("idaq") is None, "idaq is installed here"
np = import_module("numpy")
observations = np.load(seen)
policy = import_module(runtime).load()
rows = policy(observations)
alone = np.stack([policy(observation) for observation in observations[:50]])
np.testing.assert_allclose(alone, rows[:50], rtol=0, atol=1e-5)
assert policy(np.float64(observations[0])).shape == rows.shape[1:]
assert refuses(policy, observations[0, 1:])
assert refuses(policy, np.full_like(observations[0], np.nan))
assert "idaq" not in sys.modules
np.save(acted, rows)
