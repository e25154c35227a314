"""Kueue Workloads of the groups, pure: what to create, release, take back and remove."""
