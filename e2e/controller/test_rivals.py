"""For everything that the controller writes again somebody may undo it: nobody fights a war."""

import time

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.live import harness, rivals, selection

# All six have come by then; a seventh may come minutes later only.
FIGHT_SECONDS = 75.0
# As long as it takes to write for the fifth time: the pauses are 0, 1, 3 and 8 seconds.
FEW_SECONDS = 20.0

# For what takes minutes: a field, an object that is made anew, and a Workload.
FEW = tuple(
    rival
    for rival in rivals.RIVALS
    if rival.what
    in ("replicas of the StatefulSet", "a Service that is deleted", "queue of the Workload")
)

ROWS = {rival.what: rival for rival in rivals.RIVALS}
rows = selection.parametrize("what", ROWS, few={rival.what for rival in FEW})


@pytest.fixture(scope="module")
def fights(
    request: pytest.FixtureRequest,
    installed: sandbox.Sandbox,
    shared_controller: harness.ControllerProcess,
) -> dict[str, rivals.Fight]:
    """All rows that are looked at, fought at the same time."""
    if installed.audit_log is None:
        pytest.skip("this cluster shows no audit log")
    if not shared_controller.running:
        shared_controller.start()
    chosen = [ROWS[what] for what in selection.values(request, "what")]
    seconds = FIGHT_SECONDS if len(chosen) > len(FEW) else FEW_SECONDS
    return rivals.fight(installed, chosen, seconds=seconds)


@pytest.mark.row("WAR-02", "WAR-07")
@rows
def test_what_a_rival_undoes_is_written_six_times_at_most_before_the_longest_pause_and_told(
    fights: dict[str, rivals.Fight], what: str
) -> None:
    one = fights[what]
    if one.forbidden:
        pytest.skip("this Kueue forbids what the rival does")
    assert one.undone >= 2, "the rival had nothing to undo"
    contested = one.times(resource=one.rival.counted)
    assert any(len(times) >= 2 for times in contested.values()), f"not repaired: {contested}"
    for key, times in contested.items():
        assert len(times) <= one.most(one.rival.counted, key), (key, times)
    assert one.told, "no Warning"
    assert len(one.told) == len(set(one.told)), one.told
    if one.rival.named:
        assert any("field manager lws-kueue-sandbox" in text for text in one.told), one.told
    # Who writes a status, or has made what is there now, has undone nothing.
    blamed = [text for text in one.told if "field manager kube-controller-manager" in text]
    assert not blamed, blamed


@pytest.mark.row("WAR-02")
@rows
def test_a_rival_for_one_thing_makes_no_war_about_another(
    fights: dict[str, rivals.Fight], what: str
) -> None:
    one = fights[what]
    # What is told of a set and its Workloads follows what happens to them.
    desired = {w.resource for w in one.writes if not w.resource.endswith("/status")}
    for resource in desired:
        for key, times in one.times(resource=resource).items():
            assert len(times) <= one.most(resource, key), (resource, key, times)


@pytest.mark.long(minutes=7)
@pytest.mark.row("WAR-02")
def test_after_the_first_minute_there_is_one_write_in_five_minutes(
    installed: sandbox.Sandbox, controller: harness.ControllerProcess
) -> None:
    assert controller.running
    for what, one in rivals.fight(installed, FEW, seconds=380.0).items():
        times = one.contested()
        *first, last = times
        # What was written when the set was made counts as well, if it is the same.
        assert 5 <= len(first) <= 6, (what, times)
        assert first[-1] < 60.0, (what, times)
        assert 295.0 < last - first[-1] < 330.0, (what, times)


@pytest.mark.long(minutes=3)
@pytest.mark.row("WAR-03")
def test_a_restart_of_the_controller_costs_one_repair_and_not_another_war(
    installed: sandbox.Sandbox, controller: harness.ControllerProcess
) -> None:
    restarted: list[float] = []

    def restart(fights: list[rivals.Fight]) -> None:
        for one in fights:
            rivals.await_back_off(installed, one)
        controller.kill()
        restarted.append(time.time())
        controller.start()

    fought = rivals.fight(installed, FEW, seconds=150.0, meanwhile=restart)
    for what, one in fought.items():
        times = one.contested()
        after = [t for t in times if t + one.began > restarted[0]]
        assert len(times) - len(after) <= 6, (what, times)
        assert len(after) <= 1, (what, times, after)
        assert one.condition is not None, f"{what}: the condition is lost"


@pytest.mark.long
@pytest.mark.row("WAR-02")
def test_what_people_do_again_and_again_is_followed_each_time_and_is_no_war(
    installed: sandbox.Sandbox, controller: harness.ControllerProcess, namespace: str
) -> None:
    """Queues are drained and opened, and labels go back and forth: seven times in a row."""
    cluster, kueue = installed, names.KUEUE_API_VERSION
    assert controller.running
    queue = harness.queues(cluster, namespace=namespace, cpu="10")
    for name, value in ((f"{namespace}-0", 10), (f"{namespace}-1", 20)):
        cluster.api.create(
            {
                "apiVersion": kueue,
                "kind": "WorkloadPriorityClass",
                "metadata": {"name": name},
                "value": value,
            }
        )
    body = harness.leader_worker_set(
        "busy", namespace=namespace, replicas=1, size=2, queue=queue, cpu="10m"
    )
    body["metadata"]["labels"][names.PRIORITY_CLASS] = f"{namespace}-1"
    cluster.api.create(body)
    harness.wait_ready(cluster, "busy", namespace=namespace, groups=1)
    for time_ in range(7):
        wanted = f"{namespace}-{time_ % 2}"
        labels = {"metadata": {"labels": {names.PRIORITY_CLASS: wanted}}}
        cluster.api.patch(*rivals.LWS, "busy", namespace=namespace, body=labels)
        cluster.api.wait_for_all(
            *rivals.WORKLOAD,
            lambda seen, wanted=wanted: (
                [  # type: ignore[misc]
                    w["spec"]["priorityClassRef"]["name"] for w in seen.values()
                ]
                == [wanted]
            ),
            namespace=namespace,
            what=f"change {time_} of the priority is followed",
        )
    for _ in range(7):
        for policy, groups in (("HoldAndDrain", 0), ("None", 1)):
            stop = {"spec": {"stopPolicy": policy}}
            cluster.api.patch(kueue, "ClusterQueue", namespace, body=stop)
            harness.wait_ready(cluster, "busy", namespace=namespace, groups=groups)
    told = cluster.api.list("events.k8s.io/v1", "Event", namespace=namespace)
    assert not [event["note"] for event in told if event["reason"] == "RepairBackOff"]
    for number in range(2):
        cluster.api.delete(kueue, "WorkloadPriorityClass", f"{namespace}-{number}")
