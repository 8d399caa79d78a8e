"""Tests of what a package from outside can do; the package itself is installed before it is used."""
