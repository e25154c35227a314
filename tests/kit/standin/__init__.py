"""A cluster in memory for the decisions of the stand-in."""
