"""The two ways in which a release is not had, which differ in what may be done next."""

from lws_kueue_lab.sandbox import cluster


class UnavailableError(cluster.ToolchainError):
    """It is not to be had there; whoever asks may try the next source."""


class IntegrityError(cluster.ToolchainError):
    """What came is not what it has to be. The run ends; no other source is tried."""
