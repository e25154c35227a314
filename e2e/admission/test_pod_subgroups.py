"""The subgroup of a pod: its index and its key (lws-contract 2.4, 5.4 and 5.6)."""

import pytest

from lws_kueue.api import names
from tests.kit.admission import model, support

SUBGROUP = (names.SUBGROUP_INDEX, names.SUBGROUP_KEY)


def asking(size: int, *, excluded: bool = False) -> dict[str, str]:
    """Return the annotations of a pod whose group has subgroups."""
    kind = "LeaderExcluded" if excluded else "LeaderWorker"
    return {names.SUBGROUP_SIZE: str(size), names.SUBGROUP_POLICY_TYPE: kind}


def members(
    pods: support.Pods, *, size: int, subgroup_size: int, excluded: bool = False
) -> list[dict[str, str]]:
    """Return the labels that the pods of a group get, the leader's first."""
    annotations = asking(subgroup_size, excluded=excluded)
    leader = pods.accept(pods.leader("test-1", size=str(size), annotations=annotations))
    key = support.labels(leader)[names.GROUP_KEY]
    workers = [
        pods.worker(
            f"test-1-{place}",
            size=str(size),
            labels={names.GROUP_KEY: key},
            annotations=annotations,
        )
        for place in range(1, size)
    ]
    return [support.labels(pod) for pod in (leader, *map(pods.accept, workers))]


@pytest.mark.row("POD-04")
def test_a_leader_is_in_the_first_subgroup(pods: support.Pods) -> None:
    spec = {"containers": [support.tpu_container()]}
    given = pods.leader("test-1", size="5", annotations={names.SUBGROUP_SIZE: "4"}, spec=spec)
    assert support.labels(pods.accept(given)) == {
        names.SET_NAME: "test",
        names.WORKER_INDEX: "0",
        names.GROUP_INDEX: "1",
        names.GROUP_KEY: "pod-test-1",
        names.SUBGROUP_INDEX: "0",
        names.SUBGROUP_KEY: "pod-test-1-0",
    }


@pytest.mark.row("POD-05")
def test_a_worker_gets_a_subgroup_and_no_group_key(pods: support.Pods) -> None:
    annotations = {names.SUBGROUP_SIZE: "2", names.LEADER_REQUESTS_TPUS: "true"}
    given = pods.worker("test-1-3", size="4", annotations=annotations)
    assert support.labels(pods.accept(given)) == {
        names.SET_NAME: "test",
        names.GROUP_INDEX: "1",
        names.WORKER_INDEX: "3",
        names.SUBGROUP_INDEX: "1",
        names.SUBGROUP_KEY: "pod-test-1-1",
    }


@pytest.mark.row("POD-06")
def test_the_leader_may_be_one_more_in_the_first_subgroup(pods: support.Pods) -> None:
    given = pods.worker("test-1-4", size="5", annotations={names.SUBGROUP_SIZE: "2"})
    assert support.labels(pods.accept(given))[names.SUBGROUP_INDEX] == "1"


@pytest.mark.row("UT-27")
@pytest.mark.parametrize(
    ("size", "subgroup_size", "worker", "index"),
    [(4, 2, 2, "1"), (5, 2, 2, "0"), (3, 1, 1, "1"), (3, 1, 2, "2")],
)
def test_the_subgroup_of_a_worker_follows_from_its_place(
    pods: support.Pods, size: int, subgroup_size: int, worker: int, index: str
) -> None:
    given = pods.worker(
        f"test-1-{worker}", size=str(size), annotations={names.SUBGROUP_SIZE: str(subgroup_size)}
    )
    assert support.labels(pods.accept(given))[names.SUBGROUP_INDEX] == index


@pytest.mark.parametrize(
    ("size", "subgroup_size"),
    [(1, 1), (2, 1), (2, 2), (3, 2), (4, 2), (4, 3), (5, 2), (6, 3), (7, 3), (9, 4), (12, 4)],
)
def test_every_member_of_a_group_is_in_the_subgroup_of_the_model(
    pods: support.Pods, size: int, subgroup_size: int
) -> None:
    found = members(pods, size=size, subgroup_size=subgroup_size)
    for index, places in enumerate(model.subgroups(size=size, subgroup_size=subgroup_size)):
        for place in places:
            assert found[place][names.SUBGROUP_INDEX] == str(index)
            assert found[place][names.SUBGROUP_KEY] == f"pod-test-1-{index}"


def test_a_leader_that_is_excluded_is_in_no_subgroup_and_its_workers_are(
    pods: support.Pods,
) -> None:
    leader, *workers = members(pods, size=5, subgroup_size=2, excluded=True)
    assert not set(SUBGROUP) & set(leader)
    expected = model.subgroups(size=5, subgroup_size=2, excluded=True)
    assert expected == [[1, 2], [3, 4]]
    assert [worker[names.SUBGROUP_INDEX] for worker in workers] == ["0", "0", "1", "1"]


def test_without_subgroups_there_are_no_labels_of_them(pods: support.Pods) -> None:
    for pod in (pods.leader("test-1"), pods.worker("test-1-1")):
        assert not set(SUBGROUP) & set(support.labels(pods.accept(pod)))


def test_what_a_pod_has_of_a_subgroup_is_kept_and_completed(pods: support.Pods) -> None:
    annotations = asking(2)
    for pod in (
        pods.leader("test-1", size="4", annotations=annotations),
        pods.worker("test-1-1", size="4", annotations=annotations),
    ):
        pod["metadata"]["labels"][names.SUBGROUP_INDEX] = "7"
        stored = support.labels(pods.accept(pod))
        assert (stored[names.SUBGROUP_INDEX], stored[names.SUBGROUP_KEY]) == ("7", "pod-test-1-7")
        pod["metadata"]["labels"] |= {names.SUBGROUP_INDEX: "", names.SUBGROUP_KEY: "kept"}
        stored = support.labels(pods.accept(pod))
        assert (stored[names.SUBGROUP_INDEX], stored[names.SUBGROUP_KEY]) == ("0", "kept")


def test_the_keys_of_subgroups_fit_into_a_label_however_long_the_name_is(
    pods: support.Pods,
) -> None:
    name = "n" * 200
    annotations = asking(1)
    keys = [
        support.labels(pods.accept(pod))[names.SUBGROUP_KEY]
        for pod in (
            pods.leader(f"{name}-1", size="1000000000", annotations=annotations),
            pods.worker(f"{name}-1-999999999", size="1000000000", annotations=annotations),
        )
    ]
    assert [key.rpartition("-")[2] for key in keys] == ["0", "999999999"]
    assert len({key.rpartition("-")[0] for key in keys}) == 1
    assert all(len(key) <= 63 for key in keys)


@pytest.mark.row("UT-43")
@pytest.mark.parametrize("size", ["", "x", "0", "-1", "1.5", "99999999999999999999"])
def test_a_pod_whose_subgroup_size_is_no_number_is_refused(pods: support.Pods, size: str) -> None:
    spec = {"containers": [support.tpu_container()]}
    for pod in (
        pods.leader("test-1", annotations={names.SUBGROUP_SIZE: size}),
        pods.leader("test-1", annotations={names.SUBGROUP_SIZE: size}, spec=spec),
        pods.worker("test-1-1", annotations={names.SUBGROUP_SIZE: size}, spec=spec),
    ):
        with support.refused() as refusal:
            pods.accept(pod)
        assert f"metadata.annotations[{names.SUBGROUP_SIZE}]" in refusal.message
