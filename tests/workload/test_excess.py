"""A pod that asks for more than was admitted is not let go, and the set says by how much."""

from collections.abc import Mapping
from typing import Any

import pytest

from lws_kueue.workload import backing, release
from tests.kit.builders.builders import admitted, assigned, flavor, pod

Json = dict[str, Any]
DEFAULT = {"default": flavor()}


def container(name: str = "c", **requests: str) -> Json:
    return {"name": name, "resources": {"requests": requests}}


def limited(**limits: str) -> Json:
    return {"name": "c", "resources": {"limits": limits}}


def told(
    usage: Mapping[str, str],
    spec: Json,
    *,
    template: Json | None = None,
    count: int = 2,
    pods: int = 1,
) -> list[str]:
    """Return what keeps pods of this spec from being let go; nothing when all of them are."""
    workload = admitted(
        [assigned("main", count) | {"resourceUsage": dict(usage)}],
        pod_sets=[{"name": "main", "count": count, "template": {"spec": template or {}}}],
    )
    members = [pod(index, **spec) for index in range(pods)]
    planned, problems = release.plan_release(
        workload, members, terms=backing.Terms(flavors=DEFAULT)
    )
    assert (planned is None) == bool(problems), "either all go, or none"
    assert {one.code for one in problems} <= {"PodExceedsAdmission"}
    return [one.message for one in problems]


LEAST: Json = {"containers": [container(cpu="250m")]}
SIDECAR: Json = {"containers": [container(cpu="250m"), container("proxy", cpu="100m")]}


def test_a_pod_that_asks_for_what_was_admitted_is_let_go() -> None:
    assert told({"cpu": "500m"}, LEAST, template=LEAST) == []


def test_a_container_that_was_injected_holds_the_group_and_both_amounts_are_told() -> None:
    (message,) = told({"cpu": "500m"}, SIDECAR, template=LEAST, pods=2)
    assert "pod serve-0 requests more than podset main of Workload wl-0" in message
    assert "350m of cpu instead of 250m" in message
    assert "into the pod template" in message


def test_an_injected_sidecar_among_the_init_containers_counts() -> None:
    proxy = container("proxy", cpu="100m") | {"restartPolicy": "Always"}
    spec = {**LEAST, "initContainers": [proxy]}
    assert len(told({"cpu": "500m"}, spec, template=LEAST)) == 1
    # One that ends before the containers start needs no more than they do.
    assert told({"cpu": "500m"}, {**LEAST, "initContainers": [container(cpu="250m")]}) == []


def test_pod_level_requests_hold_what_is_injected() -> None:
    whole = {"resources": {"requests": {"cpu": "400m"}}}
    assert told({"cpu": "800m"}, SIDECAR | whole, template=LEAST | whole) == []


@pytest.mark.parametrize(
    ("usage", "spec"),
    [
        pytest.param({"cpu": "500m"}, {"containers": [container(cpu="250m", gpu="1")]}, id="other"),
        pytest.param({}, SIDECAR, id="nothing is counted"),
        pytest.param({"pods": "2"}, SIDECAR, id="only pods are counted"),
    ],
)
def test_a_resource_that_kueue_did_not_count_holds_nobody(
    usage: Mapping[str, str], spec: Json
) -> None:
    assert told(usage, spec, template=LEAST) == []


def test_defaults_of_a_limit_range_and_overhead_are_part_of_the_admission() -> None:
    bare = {"containers": [{"name": "c"}], "runtimeClassName": "heavy"}
    made = {"containers": [container(cpu="100m")], "overhead": {"cpu": "50m"}}
    assert told({"cpu": "300m"}, made, template=bare) == []
    (message,) = told({"cpu": "200m"}, made, template=bare)
    assert "150m of cpu instead of 100m" in message


def test_what_kueue_was_told_to_count_as_less_is_no_excess() -> None:
    # A transformation that replaces memory by a part of it.
    template = {"containers": [container(memory="4Gi")]}
    assert told({"memory": "4Gi"}, template, template=template) == []
    more = {"containers": [container(memory="5Gi")]}
    (message,) = told({"memory": "4Gi"}, more, template=template)
    assert "5Gi of memory instead of 2Gi" in message


def test_a_limit_that_the_api_server_made_the_request_of_is_an_excess_over_the_default() -> None:
    template = {"containers": [limited(cpu="2")]}
    made = {"containers": [limited(cpu="2")]}
    (message,) = told({"cpu": "200m"}, made, template=template)
    assert "2 of cpu instead of 100m" in message
    assert told({"cpu": "4"}, made, template=template) == []


def test_devices_that_the_template_asks_for_by_a_limit_are_no_excess() -> None:
    # Kueue may count what DRA makes of them, which is less for sidecars.
    template = {"containers": [limited(**{"example.com/gpu": "2"})]}
    assert told({"example.com/gpu": "2"}, template, template=template) == []
    more = {"containers": [limited(**{"example.com/gpu": "3"})]}
    assert len(told({"example.com/gpu": "2"}, more, template=template)) == 1


def test_each_podset_is_held_to_its_own_admission() -> None:
    workload = admitted(
        [
            assigned("leader", 1) | {"resourceUsage": {"cpu": "1"}},
            assigned("worker", 2) | {"resourceUsage": {"cpu": "200m"}},
        ],
        pod_sets=[{"name": "leader", "count": 1}, {"name": "worker", "count": 2}],
    )
    big: Json = {"containers": [container(cpu="1")]}
    small: Json = {"containers": [container(cpu="100m")]}
    released, problems = release.plan_release(
        workload, [pod(0, **big), pod(1, **small)], terms=backing.Terms(flavors=DEFAULT)
    )
    assert released is not None
    assert problems == ()
    # The leader goes with the worker that may not: half a group would do nothing.
    released, problems = release.plan_release(
        workload, [pod(0, **big), pod(1, **big)], terms=backing.Terms(flavors=DEFAULT)
    )
    assert released is None
    assert "podset worker" in problems[0].message


def test_a_pod_that_runs_already_holds_up_no_other() -> None:
    workload = admitted([assigned("main", 2) | {"resourceUsage": {"cpu": "500m"}}])
    members = [pod(0, gates=(), phase="Running", **SIDECAR), pod(1, **LEAST)]
    released, problems = release.plan_release(
        workload, members, terms=backing.Terms(flavors=DEFAULT)
    )
    assert released is not None
    assert problems == ()


def test_a_request_that_nobody_can_read_is_held_and_named() -> None:
    spec = {"containers": [container(cpu="1e1000000")]}
    (message,) = told({"cpu": "500m"}, spec, template=LEAST)
    assert "nobody can tell what pod serve-0 requests" in message
    assert "1e1000000" in message
