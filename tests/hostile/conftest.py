"""The program as the tests of the command line run it."""

from tests.cli.conftest import idaq as idaq
from tests.cli.conftest import in_world as in_world
from tests.cli.conftest import world as world
