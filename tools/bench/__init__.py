"""Measurements: seconds are no tests, they depend on the machine and on what else it does."""
