"""What a person sets about dispatching."""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum


class Mode(Enum):
    """To how many clusters a group is offered at a time."""

    INCREMENTAL = "Incremental"
    ALL_AT_ONCE = "AllAtOnce"


class Order(Enum):
    """Which clusters are offered first: those with the least of ours, or as the config lists."""

    SPREAD = "Spread"
    CONFIG_ORDER = "ConfigOrder"


@dataclass(frozen=True, slots=True)
class Settings:
    """How groups are dispatched.

    ``step_size`` is how many clusters an offer is widened by, after ``round_interval`` or when all
    so far have said no. Keys of labels and annotations that are dropped are not copied to workers.
    """

    worker_lost_timeout: timedelta = timedelta(minutes=15)
    mode: Mode = Mode.INCREMENTAL
    order: Order = Order.SPREAD
    step_size: int = 1
    round_interval: timedelta = timedelta(seconds=10)
    drop_labels: frozenset[str] = frozenset()
    drop_annotations: frozenset[str] = frozenset()
