"""What would become of a set with other replicas, another spec or other quota."""

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click import testing

from lws_kueue.kubectl import command, look, whatif
from lws_kueue.runtime import resources
from tests.kit.builders import cluster as build
from tests.kubectl import server as servers
from tests.kubectl import test_screens as screens
from tests.kubectl.given import NAMESPACE, RACK, Given

Object = dict[str, Any]


def asked(given: Given, **change: Any) -> whatif.Answer:
    return whatif.answer(given.seen(), whatif.Change(**change))


def states(found: whatif.Answer) -> list[tuple[str, str]]:
    return [(one.now, one.then) for one in found.groups]


def test_of_more_groups_those_run_for_which_there_is_quota() -> None:
    # Groups of 1500m, of which 3 cpu have room for two.
    found = asked(Given(replicas=1, admitted=1), replicas=4)
    assert states(found) == [("runs", "runs"), ("", "runs"), ("", "waits"), ("", "waits")]
    assert (found.running, found.replicas) == (2, 4)
    assert found.change == ("4 groups instead of 1",)
    assert found.groups[1].flavors == ("default",)


def test_what_the_next_group_lacks_is_told_with_what_limits_it() -> None:
    found = asked(Given(replicas=2, admitted=2), replicas=3)
    lack = whatif.Lack("default", "cpu", "1500m", "nominalQuota")
    assert found.groups[2].lacks == (lack,)
    assert "1500m more needed" in found.groups[2].why


def test_with_fewer_groups_what_they_had_goes_to_others_that_wait() -> None:
    given = Given(replicas=2, admitted=2)
    given.other("first", cpu="1500m")
    given.others[0]["spec"]["podSets"] = [pods("1500m")]
    found = asked(given, replicas=1)
    assert states(found) == [("runs", "runs"), ("runs", "gone")]


def test_more_quota_admits_groups_that_wait() -> None:
    given = Given(replicas=3, admitted=2)
    found = asked(given, quotas={("cq", "default", "cpu"): "5"})
    assert states(found)[2] == ("waits", "runs")
    (told,) = found.change
    assert told == "nominalQuota 5 instead of 3 of cpu in flavor default of ClusterQueue cq"


def test_less_quota_takes_nothing_from_who_has_it() -> None:
    found = asked(Given(replicas=2, admitted=2), quotas={("cq", "default", "cpu"): "1"})
    assert states(found) == [("runs", "runs")] * 2


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (("other", "default", "cpu"), "there is no ClusterQueue other: there is cq"),
        (("cq", "spot", "cpu"), "ClusterQueue cq has no quota spot/cpu: there is default/cpu"),
    ],
)
def test_quota_that_there_is_not_is_named(kind: tuple[str, str, str], told: str) -> None:
    with pytest.raises(LookupError, match=told):
        asked(Given(), quotas={kind: "1"})


def test_no_less_quota_is_asked_about_than_is_lent() -> None:
    given = Given()
    queue = given.cluster_queues[0]["spec"]
    queue["cohortName"] = "all"
    queue["resourceGroups"][0]["flavors"][0]["resources"][0]["lendingLimit"] = "2"
    with pytest.raises(
        ValueError, match=r"cq/default/cpu: Kueue takes no less .* lendingLimit .* 2"
    ):
        asked(given, quotas={("cq", "default", "cpu"): "1"})
    assert asked(given, quotas={("cq", "default", "cpu"): "2"}).change


def test_groups_displace_who_has_less_priority_and_that_is_told() -> None:
    given = Given(replicas=1, admitted=1)
    given.other("low", priority=-5, cpu="1500m", holds=True)
    given.others[0]["spec"]["podSets"] = [pods("1500m")]
    given.cluster_queues[0]["spec"]["preemption"] = {"withinClusterQueue": "LowerPriority"}
    found = asked(given, replicas=2)
    assert states(found)[1] == ("", "runs")
    assert found.groups[1].displaces == (f"{NAMESPACE}/low",)
    assert found.displaced == (f"{NAMESPACE}/low",)


def test_in_a_cohort_groups_borrow_what_others_leave() -> None:
    given = Given(replicas=2, admitted=2)
    lender = build.cluster_queue("lender", {"default": {"cpu": "2"}})
    for queue in (given.cluster_queues[0], lender):
        queue["spec"]["cohortName"] = "all"
    given.cluster_queues.append(lender)
    found = asked(given, replicas=4)
    assert [then for _, then in states(found)] == ["runs", "runs", "runs", "waits"]
    assert found.groups[3].lacks == (whatif.Lack("default", "cpu", "1", "cohort"),)


def test_a_set_with_another_template_is_asked_for_anew() -> None:
    given = Given(replicas=2, admitted=2)
    manifest = copy.deepcopy(given.live)
    containers = manifest["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]["containers"]
    containers[0]["resources"] = {"requests": {"cpu": "1"}}
    found = asked(given, manifest=manifest)
    # Three pods of 1 cpu each.
    assert states(found) == [("runs", "runs"), ("runs", "waits")]
    assert found.change == ("the set of the file instead of the live one, 2 groups",)
    assert any("anew" in one for one in found.not_modelled)


def of_surge(found: whatif.Answer) -> list[str]:
    return [one for one in found.not_modelled if "surge" in one]


def surging(given: Given, most: int | str) -> Given:
    strategy = given.live["spec"].setdefault("rolloutStrategy", {})
    strategy.setdefault("rollingUpdateConfiguration", {})["maxSurge"] = most
    given.model.touch(given.live)
    return given


def test_another_image_keeps_the_quota_that_groups_have() -> None:
    given = Given(replicas=2, admitted=2)
    given.cluster_queues = [build.cluster_queue("cq", {"default": {"cpu": "1"}})]
    found = asked(given, manifest=with_image(given.live, "app:9"))
    assert states(found) == [("runs", "runs")] * 2
    assert found.change == ("the set of the file, of which groups keep the quota that they have",)


def with_image(live: Object, image: str) -> Object:
    manifest = copy.deepcopy(live)
    template = manifest["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    template["spec"]["containers"][0]["image"] = image
    return manifest


def test_surge_groups_of_an_update_that_is_under_way_are_told_to_be_left_out() -> None:
    given = surging(screens.updated(half=True), 1)
    # Now the group that was out of its reach is replaced as well.
    given.live["spec"]["rolloutStrategy"]["rollingUpdateConfiguration"]["partition"] = 0
    given.model.touch(given.live)
    (told,) = of_surge(asked(given, replicas=3))
    assert "up to 1 more than its replicas (maxSurge)" in told


def test_surge_groups_are_no_matter_where_no_update_is_under_way() -> None:
    assert of_surge(asked(surging(screens.updated(), 1), replicas=3)) == []
    assert of_surge(asked(surging(screens.updated(half=True), 1), replicas=3)) == []
    given = screens.updated(half=True)
    given.live["spec"]["rolloutStrategy"]["rollingUpdateConfiguration"]["partition"] = 0
    given.model.touch(given.live)
    assert of_surge(asked(given, replicas=3)) == [], "it has no maxSurge"


def test_surge_groups_of_the_update_that_a_file_begins_are_told_to_be_left_out() -> None:
    # Nothing is asked for anew, because another image needs as much.
    given = surging(Given(replicas=4, admitted=2), "50%")
    found = asked(given, manifest=with_image(given.live, "app:9"))
    (told,) = of_surge(found)
    assert "up to 2 more" in told
    assert not any("anew" in one for one in found.not_modelled)
    assert of_surge(asked(given, manifest=copy.deepcopy(given.live), replicas=5)) == []


def test_a_set_that_nobody_has_created_yet_is_not_updated() -> None:
    given = surging(Given(replicas=2), 1)
    for kind in ("Pod", "StatefulSet"):
        for name in [*given.model.of_kind(kind)]:
            del given.model.objects[kind, name]
    assert of_surge(asked(given, manifest=with_image(given.live, "app:9"))) == []


def test_a_topology_says_where_a_group_would_be() -> None:
    given = Given(replicas=1, admitted=0)
    spec = given.live["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    spec.setdefault("metadata", {})["annotations"] = {
        "kueue.x-k8s.io/podset-required-topology": RACK
    }
    given.model.touch(given.live)
    given.flavors[0]["spec"]["topologyName"] = "t"
    for node in given.nodes:
        node["status"]["allocatable"]["pods"] = "110"
    found = asked(given, replicas=2)
    # Of the racks that hold a group the one with the least room.
    assert [one.where for one in found.groups if one.then == "runs"] == [("rack-9",)]


def test_a_set_without_a_queue_is_told_what_to_do() -> None:
    with pytest.raises(ValueError, match="names no queue"):
        asked(Given(queue=None), replicas=3)


def test_a_stopped_queue_is_why_groups_wait() -> None:
    given = Given(replicas=1, admitted=0)
    given.local_queues[0]["spec"]["stopPolicy"] = "Hold"
    assert asked(given, replicas=1).groups[0].why == "LocalQueue queue is stopped"


def test_what_may_not_be_read_counts_as_kueue_has_told() -> None:
    given = Given(replicas=1, admitted=1)
    given.used("cq", "3")
    seen = given.seen()
    partly = type(seen)(**{**vars(seen), "partly": (resources.WORKLOADS,)})
    found = whatif.answer(partly, whatif.Change(replicas=2))
    assert states(found)[1] == ("", "waits")
    assert any("may not read" in one for one in found.not_modelled)


def test_ten_thousand_groups_are_answered_at_once() -> None:
    found = asked(Given(replicas=1, admitted=1), replicas=10_000)
    assert (found.running, len(found.groups)) == (2, 10_000)


def pods(cpu: str) -> Object:
    container = {"name": "c", "resources": {"requests": {"cpu": cpu}}}
    return {"name": "main", "count": 1, "template": {"spec": {"containers": [container]}}}


Run = Callable[..., testing.Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def called(*arguments: str) -> testing.Result:
        with servers.of(Given(replicas=1, admitted=1), tmp_path, monkeypatch) as server:
            found = testing.CliRunner().invoke(command.main, ["whatif", *arguments])
            assert all(one.startswith("GET ") for one in server.asked)
        return found

    return called


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["demo"], "give what is to be otherwise: --replicas, -f or --quota"),
        (["--replicas", "2"], "give the name of a set, or -f with a set"),
        (["demo", "--quota", "cq/cpu=3"], "give it as CLUSTERQUEUE/FLAVOR/RESOURCE=AMOUNT"),
        (["demo", "--quota", "cq/default/cpu=much"], "--quota cq/default/cpu: 'much' is not a"),
        (["demo", "--quota", "cq/default/cpu=-1"], "--quota cq/default/cpu: -1 is less than"),
        (["demo", "--quota", "x/default/cpu=1"], "--quota x/default/cpu: there is no ClusterQueue"),
        (
            ["demo", "--quota", "cq/default/cpu=1", "--quota", "cq/default/cpu=2"],
            "--quota: the same quota is given twice",
        ),
        (["absent", "--replicas", "2"], "LeaderWorkerSet absent is not in namespace default"),
    ],
)
def test_a_wrong_question_is_told_what_to_change(run: Run, arguments: list[str], told: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 1
    assert told in done.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"\xff\xfe\x00", "no text in UTF-8"),
        (b"a: [", "no YAML"),
        (b"kind: Pod", "one LeaderWorkerSet, not 0"),
        (b"kind: LeaderWorkerSet", "metadata.name"),
        (b"kind: LeaderWorkerSet\nmetadata: demo", "metadata.name"),
        (b"kind: LeaderWorkerSet\nmetadata: {name: 5}", "metadata.name"),
        (b"kind: LeaderWorkerSet\nmetadata: {name: demo, namespace: 5}", "metadata.namespace"),
        (b"kind: LeaderWorkerSet\nmetadata: {name: demo}", "the set is not valid"),
        (b"kind: LeaderWorkerSet\nmetadata: {name: other}", "its set is other, not demo"),
        (
            b"kind: LeaderWorkerSet\nmetadata: {name: demo, namespace: other}",
            "its set is in namespace other, and -n says default",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_told_what_to_change(
    run: Run, tmp_path: Path, text: bytes, told: str
) -> None:
    file = tmp_path / "set.yaml"
    file.write_bytes(text)
    done = run("demo", "-n", "default", "-f", str(file))
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert "kubectl lws: -f" in done.stderr
    assert told in done.stderr


@pytest.mark.parametrize("kind", [look.COHORTS, resources.FLAVORS, resources.LOCAL_QUEUES])
def test_nothing_is_answered_without_what_it_rests_on(kind: resources.Resource) -> None:
    seen = dataclasses.replace(Given().seen(), lacking=(kind,))
    with pytest.raises(ValueError, match=f"you may not read {kind.plural}"):
        whatif.answer(seen, whatif.Change(replicas=3))


def test_a_set_that_nobody_has_created_yet_is_answered(run: Run, tmp_path: Path) -> None:
    given = Given(replicas=3)
    live = copy.deepcopy(given.live)
    live["metadata"] = {"name": "new", "labels": live["metadata"]["labels"]}
    import yaml

    file = tmp_path / "set.yaml"
    file.write_text(yaml.safe_dump(live))
    done = run("-f", str(file))
    assert done.exit_code == 0, done.stderr
    assert "1 of 3 groups have quota" in done.stdout
