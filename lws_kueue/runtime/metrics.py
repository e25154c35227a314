"""What can be measured, by the names of controller-runtime and client-go (lws-contract 9.3).

Dashboards for the Go manager keep working: what means the same has the same name and labels. The
objects are of the module, as is usual with this library; a process has one registry.
"""

import functools
from typing import Final

import prometheus_client

CONTROLLER: Final = "leaderworkerset"

# Those of controller-runtime: fine where a pass usually ends, coarse where it should not.
_PASS_SECONDS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8),
    *(0.9, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30),
    *(40, 50, 60),
)
_QUEUE_SECONDS: Final = tuple(10.0**exponent for exponent in range(-8, 4))

# Go has no series that say when a counter began.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY: Final = prometheus_client.CollectorRegistry()
prometheus_client.ProcessCollector(registry=REGISTRY)
prometheus_client.PlatformCollector(registry=REGISTRY)
prometheus_client.GCCollector(registry=REGISTRY)

_counter = functools.partial(prometheus_client.Counter, registry=REGISTRY)
_gauge = functools.partial(prometheus_client.Gauge, registry=REGISTRY)
_histogram = functools.partial(prometheus_client.Histogram, registry=REGISTRY)
_PASS: Final = ("controller",)

_passes = _counter(
    "controller_runtime_reconcile_total",
    "Passes over a set, by their result.",
    ("controller", "result"),
)
_errors = _counter(
    "controller_runtime_reconcile_errors_total", "Passes over a set that failed.", _PASS
).labels(CONTROLLER)
panics = _counter(
    "controller_runtime_reconcile_panics_total",
    "Passes over a set that ended with an error that nobody foresaw.",
    _PASS,
).labels(CONTROLLER)
_seconds = _histogram(
    "controller_runtime_reconcile_time_seconds",
    "How long a pass over a set took.",
    _PASS,
    buckets=_PASS_SECONDS,
).labels(CONTROLLER)
_active = _gauge(
    "controller_runtime_active_workers", "Sets that are passed over right now.", _PASS
).labels(CONTROLLER)
workers = _gauge(
    "controller_runtime_max_concurrent_reconciles",
    "How many sets can be passed over at the same time.",
    _PASS,
).labels(CONTROLLER)
_QUEUE: Final = ("controller", "name")
_depth = _gauge("workqueue_depth", "Sets that wait for a pass.", _QUEUE).labels(
    CONTROLLER, CONTROLLER
)
_adds = _counter("workqueue_adds_total", "Requests for a pass over a set.", _QUEUE).labels(
    CONTROLLER, CONTROLLER
)
_retries = _counter(
    "workqueue_retries_total", "Passes that were asked for by a failure.", _QUEUE
).labels(CONTROLLER, CONTROLLER)
_waited = _histogram(
    "workqueue_queue_duration_seconds",
    "How long a set waited after its pass was due.",
    _QUEUE,
    buckets=_QUEUE_SECONDS,
).labels(CONTROLLER, CONTROLLER)
_worked = _histogram(
    "workqueue_work_duration_seconds",
    "How long a pass over a set took.",
    _QUEUE,
    buckets=_QUEUE_SECONDS,
).labels(CONTROLLER, CONTROLLER)
_requests = _counter(
    "rest_client_requests_total",
    "Requests to the API server, watches not counted.",
    ["code", "host", "method"],
)
_leads = _gauge(
    "leader_election_master_status", "Whether this process holds the Lease: 1 or 0.", ["name"]
)

_repeated = _counter(
    "lws_kueue_repeated_writes_total",
    "Writes that were made before, with the same content, and that somebody has undone.",
    ["kind", "verb"],
)

# From the pause of a webhook to a day in a queue.
_WAIT_SECONDS: Final = (
    *(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400),
)
# Of so many queues, each in its namespace, times are told apart; those of all others are one.
MOST_QUEUES: Final = 200
_GROUP: Final = ("namespace", "local_queue")
_OTHERS: Final = ("", "")

_admission_wait = _histogram(
    "lws_kueue_group_admission_wait_seconds",
    "How long a group waited to be admitted, since its Workload was made, or lost an admission.",
    _GROUP,
    buckets=_WAIT_SECONDS,
)
_release = _histogram(
    "lws_kueue_group_release_seconds",
    "How long it took from the news that a group is admitted until its pods were released.",
    _GROUP,
    buckets=_WAIT_SECONDS,
)
_ready_wait = _histogram(
    "lws_kueue_group_ready_wait_seconds",
    "How long it took from the release of a group until all of its pods were ready.",
    _GROUP,
    buckets=_WAIT_SECONDS,
)
_queues: set[tuple[str, str]] = set()

policy_faults = _gauge(
    "lws_kueue_admission_policy_faults",
    "Admission policies, bindings and definitions that are missing or not of this version.",
)

_cluster_up = _gauge(
    "lws_kueue_multikueue_cluster_up",
    "Whether a worker cluster can be reached: 1 or 0.",
    ["cluster"],
)
_cluster_eligible = _gauge(
    "lws_kueue_multikueue_cluster_eligible",
    "Whether groups can be dispatched to a worker cluster: 1 or 0.",
    ["cluster"],
)

for _result in ("success", "error", "requeue", "requeue_after"):
    _passes.labels(CONTROLLER, _result)


def requested(*, code: int, host: str, method: str) -> None:
    """Count a request; ``code`` 0 is one without an answer."""
    _requests.labels(str(code) if code else "<error>", host, method).inc()


def repeated(*, kind: str, verb: str) -> None:
    """Count a write that has been made before for the same object."""
    _repeated.labels(kind, verb).inc()


def leads(name: str, value: bool) -> None:
    """Say whether this process holds a Lease."""
    _leads.labels(name).set(value)


def cluster(name: str, *, up: bool, eligible: bool) -> None:
    """Say how a worker cluster does."""
    _cluster_up.labels(name).set(up)
    _cluster_eligible.labels(name).set(eligible)


def cluster_gone(name: str) -> None:
    """Say nothing of a cluster any more."""
    for gauge in (_cluster_up, _cluster_eligible):
        gauge.remove(name)


def group_admitted(namespace: str, queue: str, seconds: float) -> None:
    """A group of a queue has waited for so long to be admitted."""
    _admission_wait.labels(*_bounded(namespace, queue)).observe(seconds)


def group_released(namespace: str, queue: str, seconds: float) -> None:
    """Pods of a group of a queue were let go so long after its admission was known."""
    _release.labels(*_bounded(namespace, queue)).observe(seconds)


def group_ready(namespace: str, queue: str, seconds: float) -> None:
    """All pods of a group of a queue were ready so long after they had been let go."""
    _ready_wait.labels(*_bounded(namespace, queue)).observe(seconds)


def _bounded(namespace: str, queue: str) -> tuple[str, str]:
    """Return the labels of a queue, those of all others where too many have some already."""
    one = (namespace, queue)
    if one not in _queues and len(_queues) >= MOST_QUEUES:
        return _OTHERS
    _queues.add(one)
    return one


class Passes:
    """Watches a work queue, and counts what becomes of the passes over sets."""

    def added(self, *, waiting: int) -> None:
        """A pass was asked for."""
        _adds.inc()
        _depth.set(waiting)

    def taken(self, *, waiting: int, late: float) -> None:
        """A pass begins, ``late`` seconds after it was due."""
        _active.inc()
        _waited.observe(late)
        _depth.set(waiting)

    def finished(self, *, seconds: float, failed: bool) -> None:
        """A pass is over."""
        _active.dec()
        _seconds.observe(seconds)
        _worked.observe(seconds)
        _passes.labels(CONTROLLER, "error" if failed else "success").inc()
        if failed:
            _errors.inc()
            _retries.inc()
