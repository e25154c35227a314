"""Everything the controller does to the outside: watching, caching, queueing and writing."""
