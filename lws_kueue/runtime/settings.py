"""What the process is told from outside."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0)]


class Settings(BaseModel):
    """Settings of the controller process; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kubeconfig: str | None = None
    """Path of a kubeconfig file; None: the pod's own service account."""
    context: str | None = None
    """Context of the kubeconfig file; None: its current one."""
    workers: int = Field(default=8, ge=1, le=64)
    """How many sets are worked on at the same time."""
    status_interval: Seconds = 1.0
    """At most one status write of a set in this time."""
    resync_interval: Seconds = 300.0
    """How often everything is listed afresh, to notice deletions that a watch missed."""
    kueue_probe_interval: Seconds = 15.0
    """How often to look whether Kueue appeared, left, or changed its version."""
    liveness_port: int | None = Field(default=None, ge=1, le=65535)
    """Port of the liveness endpoint; None: no endpoint."""
    gang_scheduler: Literal["volcano"] | None = None
    """Who schedules the pods of a group together; None: nobody, every pod is for itself."""
    short_workload_names: bool = False
    """Whether Kueue runs with ShortWorkloadNames (names of at most 63 characters)."""
