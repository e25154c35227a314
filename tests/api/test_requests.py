"""What a pod requests: a table of cases from Kubernetes' own rules, as Kueue applies them.

The rules are those of ``PodRequests`` in k8s.io/component-helpers, on pods that Kueue has completed
with overhead, LimitRanges and limits.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lws_kueue.api import completion, requests

pytestmark = pytest.mark.row("P4")

Json = dict[str, Any]
GPU = "example.com/gpu"
HUGE = "hugepages-2Mi"


def container(cpu: str = "", limit: str = "", **more: Any) -> Json:
    resources = {"requests": {"cpu": cpu} if cpu else {}, "limits": {"cpu": limit} if limit else {}}
    return {"name": "c", "resources": resources} | more


def asking(**amounts: Any) -> Json:
    return {"name": "c", "resources": {"requests": amounts}}


def sidecar(cpu: str = "", limit: str = "") -> Json:
    return container(cpu, limit, restartPolicy="Always")


def pod(*containers: Json, init: tuple[Json, ...] = (), **more: Any) -> Json:
    return {"containers": list(containers), "initContainers": list(init), **more}


def whole(**requested: Any) -> Json:
    return {"resources": {"requests": requested}}


CASES: dict[str, tuple[Json, dict[str, int]]] = {
    # Containers.
    "nothing": (pod({"name": "c"}), {}),
    "no containers": ({}, {}),
    "null where a list may be": ({"containers": None, "initContainers": None}, {}),
    "null where a map may be": (pod({"name": "c", "resources": None}), {}),
    "containers add up": (pod(container("100m"), container("200m")), {"cpu": 300}),
    "each resource by itself": (
        pod(asking(cpu="1"), asking(memory="1Ki", **{GPU: 2})),
        {"cpu": 1000, "memory": 1024, GPU: 2},
    ),
    "zero is an amount": (pod(asking(cpu="0", **{GPU: "0"})), {"cpu": 0, GPU: 0}),
    # Limits.
    "a limit stands for a missing request": (pod(container(limit="1")), {"cpu": 1000}),
    "a request is not replaced": (pod(container("100m", limit="1")), {"cpu": 100}),
    "nor is one of zero": (pod(container("0", limit="1")), {"cpu": 0}),
    "in init containers": (pod(container("1m"), init=(container(limit="1"),)), {"cpu": 1000}),
    # Init containers.
    "an init container that asks for more": (
        pod(container("100m"), init=(container("500m"), container("300m"))),
        {"cpu": 500},
    ),
    "init containers that ask for less": (
        pod(container("600m"), init=(container("500m"), container("300m"))),
        {"cpu": 600},
    ),
    "an init container that asks for nothing": (
        pod(container("100m"), init=({"name": "i"},)),
        {"cpu": 100},
    ),
    "the larger phase for each resource by itself": (
        pod(asking(cpu="2", memory="1Ki"), init=(asking(cpu="1", memory="2Ki"),)),
        {"cpu": 2000, "memory": 2048},
    ),
    "what only an init container asks for": (
        pod(container("100m"), init=(asking(**{GPU: 1}),)),
        {"cpu": 100, GPU: 1},
    ),
    "another restart policy makes no sidecar": (
        pod(container("100m"), init=(container("50m", restartPolicy="OnFailure"),)),
        {"cpu": 100},
    ),
    # Sidecars, and their order.
    "a sidecar beside a container": (pod(container("200m"), init=(sidecar("100m"),)), {"cpu": 300}),
    "a sidecar before an init container": (
        pod(container("200m"), init=(sidecar("100m"), container("400m"))),
        {"cpu": 500},
    ),
    "a sidecar after an init container": (
        pod(container("200m"), init=(container("400m"), sidecar("100m"))),
        {"cpu": 400},
    ),
    "sidecars that are more than the containers": (
        pod(container("1m"), init=(sidecar("100m"), container("50m"), sidecar("100m"))),
        {"cpu": 201},
    ),
    "only sidecars before it count for an init container": (
        pod(
            container("100m"),
            init=(sidecar("100m"), container("450m"), sidecar("200m"), container("300m")),
        ),
        {"cpu": 600},
    ),
    "limits of sidecars": (pod(container("1"), init=(sidecar(limit="500m"),)), {"cpu": 1500}),
    # Pod-level requests.
    "requests of the pod replace the sum": (
        pod(container("100m"), **whole(cpu="2")),
        {"cpu": 2000},
    ),
    "also a larger one": (pod(container("3"), **whole(cpu="2")), {"cpu": 2000}),
    "and only that of their resource": (
        pod(asking(cpu="1", memory="1Ki"), **whole(cpu="2")),
        {"cpu": 2000, "memory": 1024},
    ),
    "huge pages of the pod": (
        pod(asking(**{HUGE: "2Mi"}), **whole(**{HUGE: "4Mi"})),
        {HUGE: 2**22},
    ),
    "devices of the pod are none": (
        pod(asking(**{GPU: 1}), **whole(cpu="1", **{GPU: 5})),
        {"cpu": 1000, GPU: 1},
    ),
    "limits of the pod stand for requests": (
        pod(container("100m"), resources={"limits": {"cpu": "2"}}),
        {"cpu": 2000},
    ),
    # Overhead.
    "overhead on top": (pod(container("100m"), overhead={"cpu": "250m"}), {"cpu": 350}),
    "overhead on top of the larger phase": (
        pod(container("100m"), init=(container("1"),), overhead={"cpu": "250m", "memory": "1"}),
        {"cpu": 1250, "memory": 1},
    ),
    "overhead on top of requests of the pod": (
        pod(container("100m"), **whole(cpu="2"), overhead={"cpu": "250m"}),
        {"cpu": 2250},
    ),
    # Spellings: sums are exact, and rounded up once.
    "spellings": (
        pod(asking(cpu="0.1"), asking(cpu="100m"), asking(cpu="1e-1"), asking(cpu=1)),
        {"cpu": 1300},
    ),
    "bytes": (pod(asking(memory="1Ki"), asking(memory="1k"), asking(memory=1)), {"memory": 2025}),
    "halves of a thousandth": (pod(asking(cpu="500u"), asking(cpu="500u")), {"cpu": 1}),
    "more than a thousandth": (pod(asking(cpu="500u"), asking(cpu="501u")), {"cpu": 2}),
    "halves of a byte": (pod(asking(memory="500m"), asking(memory="0.5")), {"memory": 1}),
}


@pytest.mark.parametrize(("spec", "expected"), CASES.values(), ids=CASES)
def test_a_pod_requests(spec: Json, expected: dict[str, int]) -> None:
    assert requests.of_pod(spec) == expected


def test_where_limits_do_not_count_a_missing_request_is_none() -> None:
    spec = pod(container(limit="1"), asking(memory="1Ki"), resources={"limits": {"cpu": "2"}})
    assert requests.of_pod(spec, limits_count=False) == {"memory": 1024}


def test_what_is_no_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        requests.of_pod(pod(container("much")))


# What the cluster adds ------------------------------------------------------------------------

DEFAULTS = completion.Completion(
    limits={"cpu": "2", "memory": "4Ki"},
    requests={"cpu": "1", GPU: "1"},
    overheads={"heavy": {"cpu": "10m"}, "light": {}},
)

COMPLETED: dict[str, tuple[Json, dict[str, int]]] = {
    "defaults of every container": (
        pod({"name": "a"}, {"name": "b"}),
        {"cpu": 2000, "memory": 8192, GPU: 2},
    ),
    "only of what is missing": (
        pod(asking(cpu="3", memory="1Ki")),
        {"cpu": 3000, "memory": 1024, GPU: 1},
    ),
    # Kueue completes with LimitRanges first; the API server would take the limit.
    "a default before the own limit": (
        pod(container(limit="3")),
        {"cpu": 1000, "memory": 4096, GPU: 1},
    ),
    "the own limit before that of the defaults": (
        pod({"name": "c", "resources": {"limits": {"memory": "8Ki"}}}),
        {"cpu": 1000, "memory": 8192, GPU: 1},
    ),
    "init containers as well": (
        pod(asking(cpu="500m", memory="1Ki", **{GPU: 0}), init=({"name": "i"},)),
        {"cpu": 1000, "memory": 4096, GPU: 1},
    ),
    "and sidecars": (
        pod(asking(cpu="500m", memory="1Ki", **{GPU: 0}), init=(sidecar("1m"),)),
        {"cpu": 501, "memory": 5120, GPU: 1},
    ),
    "not the pod as a whole": (
        pod(asking(cpu="1m", memory="1", **{GPU: 0}), **whole(memory="2")),
        {"cpu": 1, "memory": 2, GPU: 0},
    ),
    "the overhead of a class": (
        pod(asking(cpu="1m", memory="1", **{GPU: 0}), runtimeClassName="heavy"),
        {"cpu": 11, "memory": 1, GPU: 0},
    ),
    "a class without overhead": (
        pod(asking(cpu="1m", memory="1", **{GPU: 0}), runtimeClassName="light"),
        {"cpu": 1, "memory": 1, GPU: 0},
    ),
    "the overhead that the pod names itself": (
        pod(
            asking(cpu="1m", memory="1", **{GPU: 0}),
            runtimeClassName="heavy",
            overhead={"memory": "1"},
        ),
        {"cpu": 1, "memory": 2, GPU: 0},
    ),
}


@pytest.mark.parametrize(("spec", "expected"), COMPLETED.values(), ids=COMPLETED)
def test_a_pod_requests_in_a_cluster_that_completes_it(
    spec: Json, expected: dict[str, int]
) -> None:
    assert requests.of_pod(spec, completed=DEFAULTS) == expected


@pytest.mark.parametrize(
    ("spec", "unknown"),
    [
        ({}, ""),
        ({"runtimeClassName": "heavy"}, ""),
        ({"runtimeClassName": "other"}, "other"),
        ({"runtimeClassName": "other", "overhead": {"cpu": "1"}}, ""),
    ],
)
def test_the_overhead_of_a_class_that_nobody_knows_is_unknown(spec: Json, unknown: str) -> None:
    assert requests.unknown_class(spec, DEFAULTS) == unknown


def limit_range(name: str, *entries: Json) -> completion.LimitRange:
    return completion.LimitRange.of({"metadata": {"name": name}, "spec": {"limits": [*entries]}})


def test_limit_ranges_are_joined_and_one_that_differs_may_come_first() -> None:
    a = limit_range(
        "a",
        {"type": "Container", "default": {"cpu": "2"}, "defaultRequest": {"cpu": "1"}},
        {"type": "Container", "default": {"cpu": "9"}, "defaultRequest": {"memory": "1"}},
        {"type": "PersistentVolumeClaim", "min": {"storage": "1"}},
        {"type": "Pod", "max": {"cpu": "7"}},
    )
    b = limit_range("b", {"type": "Container", "defaultRequest": {"cpu": "3"}})
    first = completion.Completion(limits={"cpu": "2"}, requests={"cpu": "1", "memory": "1"})
    second = completion.Completion(limits={"cpu": "2"}, requests={"cpu": "3", "memory": "1"})
    assert completion.completions([], []) == completion.AS_WRITTEN
    assert completion.completions([a], []) == (first,)
    assert completion.completions([b, a], []) == (first, second)
    assert completion.completions([a, limit_range("c")], []) == (first,)


# Devices and claims ---------------------------------------------------------------------------


def device(count: int, **more: Any) -> Json:
    return asking(cpu="1", **{GPU: count}) | more


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (pod(container("1")), {}),
        (pod(device(0)), {}),
        (pod(device(1), device(2)), {GPU: 3}),
        (pod(device(1), init=(device(2), device(1))), {GPU: 2}),
        (pod(device(1), init=(device(1, restartPolicy="Always"),)), {GPU: 1}),
        (pod(asking(**{HUGE: "2Mi", "x.kubernetes.io/y": 1, "kubernetes.io/z": 1})), {}),
        (pod({"name": "c", "resources": {"limits": {GPU: 2}}}), {GPU: 2}),
    ],
)
def test_devices_that_a_class_stands_for_are_counted_without_sidecars(
    spec: Json, expected: dict[str, int]
) -> None:
    assert requests.of_devices(spec) == expected


def test_claims_are_their_templates_each_as_often_as_it_is_named() -> None:
    claims = [
        {"name": "b", "resourceClaimTemplateName": "t"},
        {"name": "a", "resourceClaimName": "c"},
        {"name": "c", "resourceClaimTemplateName": "t"},
    ]
    assert requests.of_claims({"resourceClaims": claims}) == (("", "c"), ("t", ""), ("t", ""))
    assert requests.of_claims({"resourceClaims": None}) == ()


# Properties -----------------------------------------------------------------------------------

amounts = st.integers(0, 2000).map(lambda milli: container(f"{milli}m"))
sidecars = st.integers(0, 2000).map(lambda milli: sidecar(f"{milli}m"))
inits = st.lists(st.one_of(amounts, sidecars), max_size=4)


@given(st.lists(amounts, min_size=1, max_size=4), inits, st.randoms())
def test_the_order_of_containers_says_nothing(mains: list[Json], init: list[Json], r: Any) -> None:
    shuffled = [*mains]
    r.shuffle(shuffled)
    assert requests.of_pod(pod(*mains, init=(*init,))) == requests.of_pod(
        pod(*shuffled, init=(*init,))
    )


@given(st.lists(amounts, min_size=1, max_size=4), inits, st.integers(0, 4))
def test_an_init_container_that_asks_for_nothing_changes_nothing(
    mains: list[Json], init: list[Json], at: int
) -> None:
    longer = [*init[:at], {"name": "new"}, *init[at:]]
    assert requests.of_pod(pod(*mains, init=(*longer,))) == requests.of_pod(
        pod(*mains, init=(*init,))
    )


@given(st.lists(amounts, min_size=1, max_size=4), inits)
def test_no_moment_of_a_pod_takes_more_than_it_requests(
    mains: list[Json], init: list[Json]
) -> None:
    def cpu(of: list[Json]) -> int:
        return sum(int(c["resources"]["requests"]["cpu"][:-1]) for c in of)

    moments = []
    started: list[Json] = []
    for one in init:
        moments.append(cpu([*started, one]))
        if one.get("restartPolicy") == "Always":
            started.append(one)
    moments.append(cpu([*started, *mains]))
    assert requests.of_pod(pod(*mains, init=(*init,)))["cpu"] == max(moments)
