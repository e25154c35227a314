"""The examples, each doing what LWS's own sample of the same features does (lws-contract 6.8).

That every example becomes ready as it is, is what `e2e/examples` tests; here are the details.
Samples for which a cluster has to have something, such as volumes, are in `test_samples_cluster`,
the one for gang scheduling is in `test_gang`.
"""

import re
import subprocess
from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import stages

from lws_kueue.api import names
from tests.kit.lws import checks, sets, tpus
from tests.kit.lws.sample import Object, Sample

pytestmark = pytest.mark.usefixtures("controller", "played")


def assert_groups(sample: Sample, *, replicas: int, size: int) -> None:
    """There are ``replicas`` groups of ``size`` pods, whole and as the set describes them."""
    sets.wait_available(sample, groups=replicas)
    checks.leader_set(sample, replicas=replicas)
    checks.worker_sets(sample)
    checks.pods(sample)
    workers = sample.worker_sets()
    assert sorted(workers) == list(range(replicas))
    assert {found["spec"]["replicas"] for found in workers.values()} == {size - 1}


def images(sample: Sample, *, leaders: bool) -> set[str]:
    return {
        pod["spec"]["containers"][0]["image"]
        for pod in sample.pods().values()
        if (pod["metadata"]["labels"][names.WORKER_INDEX] == "0") is leaders
    }


@pytest.mark.row("SMP-01")
def test_the_smallest_set_is_three_leaders_with_three_workers_each(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    sample = sets.create(installed, *sets.example("minimal.yaml", namespace=namespace))
    assert_groups(sample, replicas=3, size=4)


@pytest.mark.row("SMP-09")
def test_a_set_with_every_default_written_out_is_three_groups_of_four(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    (body,) = sets.example("all-fields.yaml", namespace=namespace)
    sample = sets.create(installed, body)
    assert_groups(sample, replicas=3, size=4)
    # What is written there is what the API gives to a set that says nothing.
    given = sample.get()["spec"]
    short = body | {"metadata": body["metadata"] | {"name": "short"}}
    kept = ("leaderTemplate", "workerTemplate", "size")
    template = {field: body["spec"]["leaderWorkerTemplate"][field] for field in kept}
    short["spec"] = {"replicas": 3, "leaderWorkerTemplate": template}
    assert installed.api.create(short, dry_run=True)["spec"] == given


@pytest.mark.row("SMP-02")
def test_leaders_and_workers_run_the_images_of_their_own_templates(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    (body,) = sets.example("multi-template.yaml", namespace=namespace)
    sample = sets.create(installed, body)
    assert_groups(sample, replicas=3, size=4)
    leader, worker = (t["spec"]["containers"][0]["image"] for t in sets.templates(body))
    assert leader != worker
    assert images(sample, leaders=True) == {leader}
    assert images(sample, leaders=False) == {worker}


@pytest.mark.row("SMP-04")
def test_a_deleted_worker_takes_its_group_with_it_and_no_other(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    (body,) = sets.example("restart-policy.yaml", namespace=namespace)
    for template in sets.templates(body):
        # As with a real kubelet, a pod is still there for a moment after its deletion.
        template["metadata"] = {
            "annotations": {stages.BEHAVIOUR: stages.SLOW_DELETE, stages.SECONDS: "1"}
        }
    sample = sets.create(installed, body)
    sets.wait_available(sample, groups=2)
    before = sets.uids(sample.pods())
    sample.delete_pod("restart-policy-0-2")

    def is_made_anew() -> None:
        after = sets.uids(sample.pods())
        assert after.keys() == before.keys()
        same = {name for name in before if after[name] == before[name]}
        assert same == {name for name in before if name.startswith("restart-policy-1")}

    checks.eventually(is_made_anew)
    sets.wait_available(sample, groups=2)
    is_made_anew()


@pytest.mark.long
@pytest.mark.row("SMP-05")
def test_an_update_surges_by_two_and_always_keeps_two_groups_ready(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    (body,) = sets.example("rollout-strategy.yaml", namespace=namespace)
    for template in sets.templates(body):
        template["metadata"] = {"annotations": dict(sets.SLOW_START)}
    empty = Sample(installed, namespace)
    with (
        empty.recording(*sets.STATEFUL_SET) as stateful_sets,
        empty.recording(*sets.POD) as pods,
    ):
        sample = sets.create(installed, body)
        sets.wait_available(sample, groups=4)
        sample.patch({"leaderWorkerTemplate": {"workerTemplate": with_image(body, "busybox:1.37")}})
        sets.wait_available(sample, groups=4)
    assert images(sample, leaders=True) == images(sample, leaders=False) == {"busybox:1.37"}
    # Partition and groups (lws-contract 4.4, X9): six groups, of which the lower two stay until
    # enough of the others are ready.
    seen = sets.steps([of_leader_set(obj) for obj in sets.versions(stateful_sets, sample.name)])
    created, *rollout = seen
    assert created == (0, 4)
    assert rollout[:2] == [(4, 6), (2, 6)], seen
    assert rollout[-1] == (0, 4), seen
    for numbers in zip(*rollout, strict=True):
        assert list(numbers) == sorted(numbers, reverse=True), seen
    ready = sets.ready_groups_over_time(pods, sample.name, size=2)
    assert ready[-1] == 4
    assert min(ready[ready.index(4) :]) >= 2, ready


def with_image(body: Object, image: str) -> dict[str, Any]:
    (container,) = body["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]["containers"]
    return {"spec": {"containers": [container | {"image": image}]}}


def of_leader_set(obj: Object) -> tuple[int, int]:
    """Return the partition and the replicas of a leader StatefulSet."""
    update = obj["spec"]["updateStrategy"].get("rollingUpdate") or {}
    return update.get("partition", 0), obj["spec"]["replicas"]


@pytest.mark.row("SMP-10")
def test_four_tpu_hosts_of_a_group_come_from_one_template(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    sample = sets.create(installed, *sets.example("tpu.yaml", namespace=namespace))
    sets.wait_available(sample, groups=2)
    pods = sample.pods()
    assert len(pods) == 8
    for group in range(2):
        leader = f"tpu-{group}"
        members = [leader, *(f"{leader}-{worker}" for worker in (1, 2, 3))]
        for rank, name in enumerate(members):
            (container,) = pods[name]["spec"]["containers"]
            assert container["resources"]["limits"] == {tpus.RESOURCE: "4"}
            tpus.pod(pods[name], members=members, first=rank, leader=leader, domain="tpu")


def expanded(container: Object) -> tuple[dict[str, str], list[str]]:
    """Return environment and command as a kubelet makes them: $(NAME) is what was set before."""
    env: dict[str, str] = {}

    def put_in(text: str) -> str:
        return re.sub(r"\$\((\w+)\)", lambda match: env.get(match[1], match[0]), text)

    for entry in container["env"]:
        if "value" in entry:
            env[entry["name"]] = put_in(entry["value"])
    words = (*container.get("command", ()), *container.get("args", ()))
    return env, [put_in(word) for word in words]


@pytest.mark.row("SMP-11")
def test_inference_servers_read_their_place_from_their_command_and_environment(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    sample = sets.create(installed, without_a_queue("sglang.yaml", namespace=namespace))
    sets.wait_available(sample, groups=1)
    address = f"sglang-0.sglang.{namespace}"
    for rank, name in enumerate(("sglang-0", "sglang-0-1")):
        (container,) = sample.pods()[name]["spec"]["containers"]
        env, command = expanded(container)
        assert env["RENDEZVOUS"] == f"{address}:20000"
        assert "--nnodes=2" in command
        assert f"--node-rank={rank}" in command
        assert f"--dist-init-addr={address}:20000" in command


@pytest.mark.row("SMP-11")
def test_a_command_in_a_shell_finds_its_leader_in_the_environment(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    sample = sets.create(installed, without_a_queue("vllm.yaml", namespace=namespace))
    sets.wait_available(sample, groups=1)
    pods = sample.pods()
    told = {name: what_programs_are_told(pod, "ray", "vllm") for name, pod in pods.items()}
    assert told.keys() == {"vllm-0", "vllm-0-1"}
    assert "vllm serve Qwen/Qwen2.5-72B-Instruct --tensor-parallel-size 8" in told["vllm-0"]
    assert "--pipeline-parallel-size 2" in told["vllm-0"]
    assert f"ray start --address=vllm-0.vllm.{namespace}:6379" in told["vllm-0-1"]


def without_a_queue(example: str, *, namespace: str) -> Object:
    """Return the set of an example, in no queue: admission is not what these tests are about."""
    objects = sets.example(example, namespace=namespace)
    (body,) = (obj for obj in objects if obj["kind"] == names.LWS_KIND)
    del body["metadata"]["labels"]
    return body


def what_programs_are_told(pod: Object, *programs: str) -> str:
    """Run a pod's script with functions in the place of programs, which print their arguments."""
    (container,) = pod["spec"]["containers"]
    env, (shell, option, script) = expanded(container)
    played = "".join(f'{name}() {{ echo {name} "$@"; }}\n' for name in programs)
    done = subprocess.run(
        [shell, option, played + script.replace("exec ", "")],
        env=env | {"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout
