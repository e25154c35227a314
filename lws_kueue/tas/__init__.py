"""Topology, pure: what templates ask for, what Kueue assigned, which rank goes where."""
