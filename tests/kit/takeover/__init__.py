"""Recorded sets, put into a cluster and compared with it."""
