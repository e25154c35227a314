"""Who asked the API server for what: the audit log's requests as counts."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from lws_kueue_lab.kueue_standin import run as standin
from lws_kueue_lab.sandbox import audit, connection

_CONTROLLERS: Final = "system:serviceaccount:kube-system:"
_BENCH: Final = "bench"
STANDIN: Final = "kueue-stand-in"

# Whose requests carry out what was asked for: the control plane, its nodes, and whoever measures.
# All others are the managers, who are compared.
_NOT_MANAGERS: Final = frozenset(
    {_BENCH, "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"}
)

# What is neither of these, and no write, is a dry run.
_READS: Final = frozenset({"get", "list", "watch"})

# Written while nothing happens at all.
_HEARTBEATS: Final = frozenset({"leases", "nodes/status", "events"})


def client_of(request: audit.Request) -> str:
    """Name who sent a request: a controller of Kubernetes by its account, others by their agent."""
    if request.user.startswith(_CONTROLLERS):
        return request.user.removeprefix(_CONTROLLERS)
    agent = request.user_agent
    if agent == connection.USER_AGENT:
        return _BENCH
    return STANDIN if agent == standin.USER_AGENT else agent.partition("/")[0]


def is_manager(client: str) -> bool:
    """Whether a client is one of those that are compared."""
    return client not in _NOT_MANAGERS and not client.endswith("-controller")


def counts(requests: Iterable[audit.Request]) -> Mapping[str, float]:
    """Count requests as figures: `writes.CLIENT.VERB` and `reads.CLIENT.VERB`.

    Events are counted apart, as `events.CLIENT`. What was refused counts as well. A watch counts
    once it has ended. A dry run is a read. What the API server asks of itself is left out.
    """
    found: Counter[str] = Counter()
    for request in requests:
        client = client_of(request)
        if client == "kube-apiserver":
            continue
        if request.is_write and request.resource == "events":
            found[f"events.{client}"] += 1
        elif request.is_write:
            found[f"writes.{client}.{request.verb}"] += 1
        else:
            found[f"reads.{client}.{'dry-run' if _is_dry_run(request) else request.verb}"] += 1
    return {name: float(number) for name, number in found.items()}


def _is_dry_run(request: audit.Request) -> bool:
    return request.verb not in _READS


def of_managers(figures: Mapping[str, float], what: str) -> float:
    """Add up the `writes`, `reads` or `events` of all managers."""
    named = ((name.split("."), value) for name, value in figures.items())
    return sum(value for (kind, *rest), value in named if kind == what and is_manager(rest[0]))


def is_work(request: audit.Request) -> bool:
    """Whether a request changes something, and is none of those that never end."""
    return (
        request.is_write
        and request.resource not in _HEARTBEATS
        and client_of(request) not in (_BENCH, "kube-apiserver")
    )
