"""What the manager serves: probes and metrics, and who may read them."""
