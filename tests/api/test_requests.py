from typing import Any

from lws_kueue.api import requests


def container(cpu: str = "", limit: str = "", **more: Any) -> dict[str, Any]:
    resources = {"requests": {"cpu": cpu} if cpu else {}, "limits": {"cpu": limit} if limit else {}}
    return {"name": "c", "resources": resources} | more


def cpu(**spec: Any) -> int:
    return requests.of_pod(spec)["cpu"]


def test_containers_add_up() -> None:
    assert cpu(containers=[container("100m"), container("200m")]) == 300


def test_a_limit_stands_in_for_a_missing_request_only() -> None:
    assert cpu(containers=[container(limit="1")]) == 1000
    assert cpu(containers=[container("100m", limit="1")]) == 100


def test_the_largest_init_container_counts_if_it_needs_more_than_the_containers() -> None:
    initial = [container("500m"), container("300m")]
    assert cpu(containers=[container("100m")], initContainers=initial) == 500
    assert cpu(containers=[container("600m")], initContainers=initial) == 600


def test_a_sidecar_counts_beside_containers_and_later_init_containers() -> None:
    sidecar = container("100m", restartPolicy="Always")
    assert cpu(containers=[container("200m")], initContainers=[sidecar]) == 300
    initial = [container("450m"), sidecar, container("400m")]
    assert cpu(containers=[container("200m")], initContainers=initial) == 500


def test_pod_level_requests_replace_the_sum_and_overhead_comes_on_top() -> None:
    spec = {"containers": [container("100m")], "resources": {"requests": {"cpu": "2"}}}
    assert cpu(**spec) == 2000
    assert cpu(**spec, overhead={"cpu": "250m"}) == 2250


def test_a_pod_without_requests_requests_nothing() -> None:
    assert requests.of_pod({"containers": [{"name": "c"}]}) == {}
