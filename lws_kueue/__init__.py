"""A LeaderWorkerSet controller that is also the bridge to Kueue."""

__version__ = "0.1.0"
