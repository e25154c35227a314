"""Kubernetes and Kueue in memory, and lives of sets to play on them."""
