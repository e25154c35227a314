"""Plan execution against a scripted API: order, guards, and what failures stop."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from lws_kueue.api import actions, facts, names
from lws_kueue.runtime import cache, client, execute, keys, resources, writes

KEY = keys.SetKey("ns", "set")
REGARDING = facts.Meta.of(
    {"metadata": {"namespace": "ns", "name": "set", "uid": "s", "resourceVersion": "1"}}
)


class ScriptedApi:
    """Answers writes by name; an answer that is an exception is raised."""

    def __init__(self, answers: dict[str, Any] | None = None) -> None:
        self.answers = answers or {}
        self.calls: list[str] = []
        self.objects: dict[str, dict[str, Any]] = {}

    def _answer(self, call: str, body: dict[str, Any]) -> dict[str, Any]:
        self.calls.append(call)
        answer = self.answers.get(call)
        if isinstance(answer, Exception):
            raise answer
        meta = {"uid": "u", "resourceVersion": "7", **body.get("metadata", {})}
        return answer or {**body, "metadata": meta}

    async def create(self, body: Any, *, field_manager: str) -> dict[str, Any]:
        assert field_manager
        return self._answer(f"create {body['metadata']['name']}", dict(body))

    async def apply(self, body: Any, **_: Any) -> dict[str, Any]:
        return self._answer(f"apply {body['metadata']['name']}", dict(body))

    async def merge_patch(
        self, resource: resources.Resource, *, namespace: str, name: str, body: Any, **_: Any
    ) -> dict[str, Any]:
        self.objects[f"patch {name}"] = dict(body)
        full = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        full["metadata"] = {**body["metadata"], "namespace": namespace, "name": name}
        return self._answer(f"patch {name}", full)

    async def delete(
        self, resource: resources.Resource, *, namespace: str, name: str, uid: str, **_: Any
    ) -> dict[str, Any]:
        assert namespace
        assert uid
        return self._answer(f"delete {name}", {"kind": "Status"})

    async def get(self, _: resources.Resource, *, namespace: str, name: str) -> Any:
        assert namespace
        self.calls.append(f"get {name}")
        return self.objects.get(name)


class Events:
    def __init__(self) -> None:
        self.sent: list[actions.Event] = []

    def record(self, _: facts.Meta, event: actions.Event) -> None:
        self.sent.append(event)


def refusal(status: int, reason: str) -> client.ApiError:
    return client.ApiError(status=status, reason=reason, message="no", request="test")


def service(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": "ns", "name": name},
    }


def pod_patch(name: str) -> actions.Patch:
    return actions.Patch(
        ref=actions.Ref("v1", "Pod", "ns", name), body={"spec": {}}, resource_version="3"
    )


def an_executor(api: Any, store: cache.Cache, events: Any, **given: Any) -> execute.Executor:
    writer = writes.Writer(api=api, store=store, expect=lambda _: None, events=events)
    return execute.Executor(writer, **given)


def carry_out(
    plan: actions.Plan, api: ScriptedApi, *, known: Iterable[dict[str, Any]] = (), **given: Any
) -> tuple[writes.Outcome, Events, cache.Cache]:
    events, store = Events(), cache.Cache()
    for obj in known:
        store.upsert(resources.of(obj["apiVersion"], obj["kind"]), obj)

    async def scenario() -> writes.Outcome:
        executor = an_executor(api, store, events, **given)
        return await executor.run(KEY, regarding=REGARDING, plan=plan)

    return asyncio.run(scenario()), events, store


def test_a_failing_chain_does_not_stop_another() -> None:
    api = ScriptedApi({"create bad": refusal(422, "Invalid")})
    plan = actions.Plan(
        chains=(
            (actions.Create(service("bad")), actions.Create(service("after-bad"))),
            (actions.Create(service("good")),),
        )
    )
    outcome, _, _ = carry_out(plan, api)
    assert "create good" in api.calls
    assert "create after-bad" not in api.calls
    assert outcome.failed


@pytest.mark.parametrize("error", [refusal(500, "InternalError"), refusal(403, "Forbidden")])
def test_after_a_failing_preparation_all_goes_on_but_what_makes_pods(
    error: client.ApiError,
) -> None:
    api = ScriptedApi({"create revision": error})
    stateful_set = {**service("pods"), "apiVersion": "apps/v1", "kind": "StatefulSet"}
    plan = actions.Plan(
        prepare=(actions.Create(service("revision")),),
        chains=(
            (actions.Create(service("rest")), actions.Create(stateful_set)),
            (actions.Apply(stateful_set, "lws", force=True),),
            (pod_patch("a"),),
        ),
        finish=(actions.Create(service("last")),),
    )
    carry_out(plan, api)
    assert api.calls == ["create revision", "create rest", "patch a"]


@pytest.mark.parametrize(
    ("status", "message", "refused"),
    [
        (422, "no", True),
        (403, "no", True),
        (405, "create not allowed while custom resource definition is terminating", True),
        (500, 'failed calling webhook "x": connection refused', True),
        (500, "etcdserver: request is too large", True),
        (500, "trying to send message larger than max (2600259 vs. 2097152)", True),
        (500, "etcdserver: request timed out", False),
        (503, "no", False),
        (429, "no", False),
        (0, "no", False),
    ],
)
def test_what_is_refused_is_told_from_what_cannot_be_asked(
    status: int, message: str, refused: bool
) -> None:
    error = client.ApiError(status=status, reason="", message=message, request="test")
    api = ScriptedApi({"create x": error, "patch a": error})
    plan = actions.Plan(chains=((actions.Create(service("x")),), (pod_patch("a"),)))
    outcome, _, _ = carry_out(plan, api)
    said = {actions.key_of(write).verb: why for write, why in outcome.refused}
    assert said == ({"create": message, "patch": message} if refused else {})


def test_events_are_sent_only_after_their_write_succeeded() -> None:
    event = actions.Event("Normal", "Created", "done")
    api = ScriptedApi({"create bad": refusal(403, "Forbidden")})
    plan = actions.Plan(
        chains=(
            (actions.Create(service("good"), events=(event,)),),
            (actions.Create(service("bad"), events=(event,)),),
        )
    )
    outcome, events, _ = carry_out(plan, api)
    assert events.sent == [event], "once, for the write that happened"
    assert [message for _, message in outcome.refused] == ["no"]


def test_an_api_server_that_is_away_is_no_event() -> None:
    api = ScriptedApi({"create x": refusal(0, "ClientConnectorError")})
    plan = actions.Plan(chains=((actions.Create(service("x")),),))
    outcome, events, _ = carry_out(plan, api)
    assert outcome.failed
    assert events.sent == []
    assert outcome.refused == []


def test_a_namespace_that_is_going_away_is_no_failure_and_no_event() -> None:
    error = client.ApiError(
        status=403,
        reason="Forbidden",
        message="being terminated",
        request="test",
        answer={"details": {"causes": [{"reason": "NamespaceTerminating"}]}},
    )
    api = ScriptedApi({"create x": error})
    plan = actions.Plan(chains=((actions.Create(service("x")),),))
    outcome, _, _ = carry_out(plan, api)
    assert not outcome.failed
    assert [message for _, message in outcome.refused] == ["being terminated"]
    assert outcome.writes == 0, "so that it is not tried again at once"


def test_a_name_that_is_known_to_be_taken_is_a_failure_with_backoff() -> None:
    api = ScriptedApi({"create taken": refusal(409, "AlreadyExists")})
    known = service("taken")
    known["metadata"] |= {"uid": "f", "resourceVersion": "2"}
    plan = actions.Plan(chains=((actions.Create(service("taken")),),))
    outcome, _, _ = carry_out(plan, api, known=[known])
    assert outcome.failed
    assert [message for _, message in outcome.refused] == ["no"]


def test_an_object_of_another_set_is_not_taken_from_it() -> None:
    api = ScriptedApi({"create other-0": refusal(409, "AlreadyExists")})
    other = service("other-0")
    other["metadata"] |= {
        "uid": "f",
        "resourceVersion": "2",
        "labels": {names.SET_NAME: "other-0"},
    }
    api.objects["other-0"] = other
    _, _, store = carry_out(actions.Plan(chains=((actions.Create(service("other-0")),),)), api)
    for name in ("set", "other-0"):
        found = store.of_set(keys.SetKey("ns", name), resources.SERVICES)
        assert list(found) == ["other-0"], "both have to know who is in the way"
    assert store.of_set(keys.SetKey("ns", "other-0"), resources.SERVICES)


def test_a_fault_of_the_program_in_one_chain_ends_the_pass_only_after_the_others() -> None:
    api = ScriptedApi({"create bad": ValueError("a bug")})
    plan = actions.Plan(
        chains=((actions.Create(service("bad")),), (actions.Create(service("good")),))
    )
    with pytest.raises(ValueError, match="a bug"):
        carry_out(plan, api)
    assert "create good" in api.calls


def test_what_comes_of_an_apply_is_compared_with_what_was_applied() -> None:
    body: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"namespace": "ns", "name": "x", "labels": {"a": "b"}},
        "spec": {"replicas": 2, "updateStrategy": {"rollingUpdate": {"maxUnavailable": 2}}},
    }
    meta = {**body["metadata"], "labels": {"a": "c"}, "uid": "u", "resourceVersion": "7"}
    # A field whose feature gate is off is dropped, and that is all right.
    dropped = {"replicas": 2, "updateStrategy": {"rollingUpdate": {}}, "podManagementPolicy": "P"}
    kept = {**body, "metadata": {**meta, "labels": {"a": "b", "more": "d"}}, "spec": dropped}
    altered = {**body, "metadata": meta, "spec": {**dropped, "replicas": 1}}
    apply = actions.Apply(body, field_manager="lws")
    for answer, changed in (
        (kept, []),
        (
            altered,
            [
                "spec.replicas was applied as 2 and became 1,"
                ' metadata.labels.a was applied as "b" and became "c"'
            ],
        ),
    ):
        api = ScriptedApi({"apply x": answer})
        outcome, _, _ = carry_out(actions.Plan(chains=((apply,),)), api)
        assert [what for _, what in outcome.changed] == changed


A_GUARD_THAT_STANDS: dict[str, actions.Action] = {
    "a creation of what is not there": actions.Create(service("x"), on_failure="FailedCreate"),
    "a patch": pod_patch("x"),
    "an apply with a guard": actions.Apply(service("x"), "lws", resource_version="3"),
    "an apply of what is known": actions.Apply(service("x"), "lws"),
    "a deletion": actions.Delete(actions.Ref("v1", "Service", "ns", "x"), "u"),
}


@pytest.mark.parametrize("status", [404, 409])
@pytest.mark.parametrize("what", A_GUARD_THAT_STANDS)
def test_where_the_object_is_as_the_guard_says_it_is_a_refusal_and_told(
    what: str, status: int
) -> None:
    write = A_GUARD_THAT_STANDS[what]
    reason = "AlreadyExists" if isinstance(write, actions.Create) else "Refused"
    verb = type(write).__name__.lower()
    api = ScriptedApi({f"{verb} x": refusal(status, reason)})
    there = service("x")
    there["metadata"] |= {"uid": "u", "resourceVersion": "3"}
    creates = isinstance(write, actions.Create)
    if not creates:
        api.objects["x"] = there
    plan = actions.Plan(chains=((write,),))
    outcome, _, _ = carry_out(plan, api, known=[] if creates else [there])
    assert outcome.failed
    assert not outcome.stale
    assert [refused for refused, _ in outcome.refused] == [write]


@pytest.mark.parametrize("what", sorted(A_GUARD_THAT_STANDS))
def test_where_the_object_has_moved_on_it_is_no_failure(what: str) -> None:
    write = A_GUARD_THAT_STANDS[what]
    verb = type(write).__name__.lower()
    api = ScriptedApi({f"{verb} x": refusal(409, "AlreadyExists")})
    before, after = service("x"), service("x")
    before["metadata"] |= {"uid": "u", "resourceVersion": "3"}
    after["metadata"] |= {"uid": "another", "resourceVersion": "4"}
    api.objects["x"] = after
    creates = isinstance(write, actions.Create)
    outcome, _, _ = carry_out(
        actions.Plan(chains=((write,),)), api, known=[] if creates else [before]
    )
    assert outcome.stale
    assert not outcome.failed
    assert outcome.refused == []


@pytest.mark.parametrize("status", [0, 403, 409, 422, 500])
def test_a_stop_waits_for_nothing_also_where_the_name_cannot_be_kept(status: int) -> None:
    api = ScriptedApi({"apply p": refusal(status, "Refused")})
    stop = actions.Delete(pod_patch("p").ref, "u", stops=True, keeping_name="example.com/kept")
    outcome, _, _ = carry_out(actions.Plan(chains=((stop,),)), api)
    assert [call for call in api.calls if not call.startswith("get")] == ["apply p", "delete p"]
    assert outcome.made == [stop]


def test_a_name_that_is_taken_is_read_and_filed_under_the_set() -> None:
    api = ScriptedApi({"create taken": refusal(409, "AlreadyExists")})
    api.objects["taken"] = {
        **service("taken"),
        "metadata": {"namespace": "ns", "name": "taken", "uid": "f", "resourceVersion": "2"},
    }
    outcome, _, store = carry_out(actions.Plan(chains=((actions.Create(service("taken")),),)), api)
    assert not outcome.failed
    assert outcome.stale
    assert "taken" in store.of_set(KEY, resources.SERVICES)


def test_a_patch_is_guarded_and_a_conflict_is_not_a_failure() -> None:
    api = ScriptedApi({"patch p": refusal(409, "Conflict")})
    plan = actions.Plan(chains=((pod_patch("p"), pod_patch("q")),))
    outcome, _, _ = carry_out(plan, api)
    assert api.objects["patch p"]["metadata"]["resourceVersion"] == "3"
    assert not outcome.failed
    assert outcome.stale
    assert "patch q" not in api.calls, "the rest of the chain rests on the first patch"


PLACED = actions.Event("Normal", "TopologyAssigned", "here")


def release(*pods: str, version: str = "5") -> actions.Plan:
    act = actions.Release(
        workload=actions.Ref("kueue.x-k8s.io/v1beta2", "Workload", "ns", "w"),
        uid="wu",
        resource_version=version,
        patches=tuple(pod_patch(pod) for pod in pods),
        events=(PLACED,),
    )
    return actions.Plan(chains=((act,),))


def workload(version: str, uid: str = "wu", *, evicted: bool = False) -> dict[str, Any]:
    true = {"QuotaReserved", "Admitted", *(["Evicted"] if evicted else [])}
    return {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "Workload",
        "metadata": {"namespace": "ns", "name": "w", "uid": uid, "resourceVersion": version},
        "spec": {"podSets": [{"name": "main", "count": 1}]},
        "status": {"conditions": [{"type": kind, "status": "True"} for kind in sorted(true)]},
    }


def test_pods_are_released_when_the_workload_is_what_the_decision_saw() -> None:
    api = ScriptedApi()
    api.objects["w"] = workload("5")
    outcome, events, _ = carry_out(release("a", "b"), api, known=[workload("5")])
    assert api.calls[0] == "get w"
    assert sorted(api.calls[1:]) == ["patch a", "patch b"]
    assert outcome.writes == 2
    assert events.sent == [PLACED]


def test_however_many_groups_wait_for_their_turn_each_workload_is_read_once() -> None:
    class Far(ScriptedApi):
        """Every answer takes a while, also for those who wait for their turn meanwhile."""

        async def get(self, *args: Any, **sent: Any) -> Any:
            await travel()
            return await super().get(*args, **sent)

        async def merge_patch(self, *args: Any, **sent: Any) -> dict[str, Any]:
            await travel()
            return await super().merge_patch(*args, **sent)

    async def travel() -> None:
        arrival = now[0] + execute.FRESH / 10
        while now[0] < arrival:
            await asyncio.sleep(0)
            now[0] += execute.FRESH / 1000

    now = [0.0]
    api = Far()
    known = [workload("5", uid=f"w{number}") for number in range(100)]
    chains: list[actions.Chain] = []
    for there in known:
        name = there["metadata"]["name"] = there["metadata"]["uid"]
        api.objects[name] = there
        ((act,),) = release(*(f"{name}-{pod}" for pod in range(4))).chains
        assert isinstance(act, actions.Release)
        chains.append((replace(act, uid=name, workload=replace(act.workload, name=name)),))
    plan = actions.Plan(chains=tuple(chains))
    outcome, _, _ = carry_out(plan, api, known=known, clock=lambda: now[0])
    assert outcome.writes == 400
    assert sum(call.startswith("get") for call in api.calls) == 100


@pytest.mark.row("O18")
def test_nothing_is_released_when_the_workload_has_moved_on() -> None:
    for current in (workload("6"), workload("5", uid="another"), None):
        api = ScriptedApi()
        if current:
            api.objects["w"] = current
        outcome, _, _ = carry_out(release("a"), api)
        assert api.calls == ["get w"]
        assert outcome.stale
        assert outcome.writes == 0


@pytest.mark.row("O18")
def test_an_eviction_that_becomes_known_meanwhile_stops_the_release() -> None:
    api = ScriptedApi()
    api.objects["w"] = workload("5")
    outcome, events, _ = carry_out(release("a"), api, known=[workload("6", evicted=True)])
    assert api.calls == ["get w"]
    assert outcome.stale
    assert events.sent == []


def moved(version: str) -> dict[str, Any]:
    """A Workload that was evicted and admitted again since, to something else."""
    found = workload(version)
    found["status"]["admission"] = {"clusterQueue": "other"}
    return found


@pytest.mark.row("O18")
@pytest.mark.parametrize(
    "by_then",
    [workload("9", evicted=True), workload("9", uid="another"), moved("9"), None, {}],
)
def test_a_pod_whose_turn_comes_late_is_released_only_if_the_admission_still_stands(
    by_then: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writes, "MOST_PARALLEL", 1)

    class Slow(ScriptedApi):
        """Between the first pod's patch and the second's, much time passes."""

        async def merge_patch(self, *args: Any, **sent: Any) -> dict[str, Any]:
            answer = await super().merge_patch(*args, **sent)
            now[0] += 2 * execute.FRESH
            if by_then != {}:
                self.objects["w"] = by_then or None  # type: ignore[assignment]
            return answer

    now = [0.0]
    api = Slow()
    api.objects["w"] = workload("5")
    pods = release("a", "b", "c")
    outcome, _, _ = carry_out(pods, api, known=[workload("5")], clock=lambda: now[0])
    stands = by_then == {}
    released = [pod for pod in "abc" if f"patch {pod}" in api.calls]
    assert released == (["a", "b", "c"] if stands else ["a"])
    assert api.calls[:3] == ["get w", "patch a", "get w"]
    assert outcome.stale is not stands


def test_one_pod_that_cannot_be_released_does_not_hold_up_the_others() -> None:
    api = ScriptedApi({"patch a": refusal(422, "Invalid")})
    api.objects["w"] = workload("5")
    outcome, _, _ = carry_out(release("a", "b"), api, known=[workload("5")])
    assert "patch b" in api.calls
    assert outcome.failed


def test_the_status_and_its_event_come_after_the_chains() -> None:
    event = actions.Event("Normal", "AllGroupsReady", "all")
    plan = actions.Plan(
        chains=((actions.Create(service("x")),),),
        status=actions.StatusWrite(
            ref=actions.Ref("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "ns", "set"),
            status={"readyReplicas": 1},
            resource_version="1",
            events=(event,),
        ),
    )
    api = ScriptedApi({"patch set": refusal(409, "Conflict")})
    _, events, _ = carry_out(plan, api)
    assert api.calls[:2] == ["create x", "patch set"]
    assert events.sent == []


def test_a_statefulset_that_only_lost_its_label_is_not_applied_as_if_it_were_new() -> None:
    body: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"namespace": "ns", "name": "set"},
        "spec": {"replicas": 1},
    }
    apply = actions.Apply(body, field_manager="lws", force=False)
    api = ScriptedApi()
    api.objects["set"] = {**body, "metadata": {**body["metadata"], "uid": "u"}}
    outcome, _, store = carry_out(actions.Plan(chains=((apply,),)), api)
    assert api.calls == ["get set"]
    assert outcome.stale
    assert not outcome.failed
    assert list(store.of_set(KEY, resources.STATEFUL_SETS)) == ["set"]


def test_a_pod_that_comes_back_while_the_old_one_is_asked_for_is_not_taken_to_be_gone() -> None:
    def pod(uid: str, version: str) -> dict[str, Any]:
        meta: dict[str, Any] = {"namespace": "ns", "name": "set-0", "uid": uid}
        meta |= {"resourceVersion": version, "labels": {names.SET_NAME: "set"}}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": meta}

    store = cache.Cache()

    class Recreating(ScriptedApi):
        async def get(self, resource: resources.Resource, *, namespace: str, name: str) -> Any:
            store.upsert(resource, pod("new", "9"))
            return None

    store.upsert(resources.PODS, pod("old", "3"))
    api = Recreating({"delete set-0": refusal(404, "NotFound")})
    delete = actions.Delete(actions.Ref("v1", "Pod", "ns", "set-0"), "old")
    executor = an_executor(api, store, Events())
    plan = actions.Plan(chains=((delete,),))
    run = executor.run(KEY, regarding=REGARDING, plan=plan)
    assert asyncio.run(run).stale
    assert store.of_set(KEY, resources.PODS)["set-0"].meta.uid == "new"


async def turns_of_the_loop() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


LIVE_SET = actions.Ref(names.LWS_API_VERSION, names.LWS_KIND, "ns", "set")
STATUS = actions.StatusWrite(ref=LIVE_SET, status={"readyReplicas": 1}, resource_version="1")


def stateful_set(name: str) -> dict[str, Any]:
    return {**service(name), "apiVersion": "apps/v1", "kind": "StatefulSet"}


def new_workload(name: str) -> dict[str, Any]:
    meta = {"namespace": "ns", "name": name}
    return {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "Workload", "metadata": meta}


def delete(name: str, kind: str = "Pod", *, stops: bool = False) -> actions.Delete:
    version = "kueue.x-k8s.io/v1beta2" if kind == "Workload" else "v1"
    return actions.Delete(actions.Ref(version, kind, "ns", name), "u", stops=stops)


(RELEASE,) = release("a").chains[0]
URGENCIES: dict[str, tuple[actions.Action, actions.Urgency]] = {
    "a pod that must not run": (delete("p", stops=True), actions.Urgency.STOP),
    "quota in vain": (delete("w", "Workload", stops=True), actions.Urgency.STOP),
    "a release": (RELEASE, actions.Urgency.RELEASE),
    "a Workload that is made": (actions.Create(new_workload("w")), actions.Urgency.WORKLOAD),
    "a Workload that goes": (delete("w", "Workload"), actions.Urgency.WORKLOAD),
    "quota that is given back": (
        actions.Apply(new_workload("w"), "f", subresource="status"),
        actions.Urgency.WORKLOAD,
    ),
    "a StatefulSet": (actions.Create(stateful_set("s")), actions.Urgency.OBJECT),
    "the leaders": (actions.Apply(stateful_set("s"), "f"), actions.Urgency.OBJECT),
    "a pod that failed": (delete("p"), actions.Urgency.OBJECT),
    "a pod's name": (pod_patch("p"), actions.Urgency.OBJECT),
    "the status": (
        actions.Patch(LIVE_SET, {"status": {}}, "1", subresource="status"),
        actions.Urgency.STATUS,
    ),
}


@pytest.mark.parametrize("what", URGENCIES)
def test_each_write_has_its_urgency(what: str) -> None:
    write, urgency = URGENCIES[what]
    assert actions.urgency(write) is urgency


def test_stops_come_first_then_releases_then_workloads_then_objects_and_the_status_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writes, "MOST_PARALLEL", 1)
    sets = tuple((actions.Create(stateful_set(f"s{n}")),) for n in range(4))
    plan = actions.Plan(
        prepare=(actions.Create(service("revision")),),
        chains=(
            *sets,
            (actions.Create(new_workload("x")),),
            (RELEASE,),
            (delete("p", stops=True),),
        ),
        status=STATUS,
    )

    class Distant(ScriptedApi):
        """Takes a moment to create something."""

        async def create(self, body: Any, *, field_manager: str) -> dict[str, Any]:
            await turns_of_the_loop()
            return await super().create(body, field_manager=field_manager)

    api = Distant()
    api.objects["w"] = workload("5")
    carry_out(plan, api, known=[workload("5")])
    # The revision found a free slot. What comes next in a chain waits for the next one.
    first = ["create revision", "delete p", "get w", "patch a", "create x"]
    assert api.calls == [*first, *(f"create s{n}" for n in range(4)), "patch set"]


def test_the_order_of_a_chain_stays_though_what_is_last_in_it_is_urgent() -> None:
    api = ScriptedApi()
    plan = actions.Plan(
        chains=(
            (actions.Create(service("x")), delete("p", stops=True)),
            (actions.Create(new_workload("w")), actions.Create(service("y"))),
        )
    )
    carry_out(plan, api)
    assert api.calls.index("create x") < api.calls.index("delete p")
    assert api.calls.index("create w") < api.calls.index("create y")


class Held(ScriptedApi):
    """Answers some calls only when they are let go."""

    def __init__(self, *held: str) -> None:
        super().__init__()
        self.held = {call: asyncio.Event() for call in held}

    async def create(self, body: Any, *, field_manager: str) -> dict[str, Any]:
        name = f"create {body['metadata']['name']}"
        if name in self.held:
            await self.held[name].wait()
        return await super().create(body, field_manager=field_manager)


def test_only_what_makes_pods_waits_for_the_revision() -> None:
    plan = actions.Plan(
        prepare=(actions.Create(service("revision")),),
        chains=(
            (actions.Apply(stateful_set("s"), "f"),),
            (actions.Create(new_workload("w")),),
            (delete("p", stops=True),),
        ),
        status=STATUS,
    )

    async def scenario() -> None:
        api = Held("create revision")
        executor = an_executor(api, cache.Cache(), Events())
        running = asyncio.create_task(executor.run(KEY, regarding=REGARDING, plan=plan))
        await turns_of_the_loop()
        assert sorted(api.calls) == ["create w", "delete p"]
        api.held["create revision"].set()
        await running
        assert api.calls[2:] == ["create revision", "apply s", "patch set"]

    asyncio.run(scenario())


OTHER = keys.SetKey("another", "set")


@pytest.mark.parametrize("other", [OTHER, keys.SetKey("ns", "other")])
def test_what_stops_overtakes_all_that_other_sets_have_yet_to_make(
    other: keys.SetKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writes, "MOST_PARALLEL", 1)
    many = actions.Plan(chains=tuple((actions.Create(service(f"x{n}")),) for n in range(50)))
    stop = actions.Plan(chains=((delete("p", stops=True),),))

    async def scenario() -> None:
        api = Held("create x0")
        executor = an_executor(api, cache.Cache(), Events())
        making = asyncio.create_task(executor.run(KEY, regarding=REGARDING, plan=many))
        await turns_of_the_loop()
        stopping = asyncio.create_task(executor.run(other, regarding=REGARDING, plan=stop))
        await turns_of_the_loop()
        api.held["create x0"].set()
        await asyncio.gather(making, stopping)
        assert api.calls[:2] == ["create x0", "delete p"]

    asyncio.run(scenario())


def test_a_set_whose_requests_hang_leaves_slots_to_the_others() -> None:
    made = [f"x{n}" for n in range(writes.MOST_PARALLEL)]
    many = actions.Plan(chains=tuple((actions.Create(service(name)),) for name in made))
    one = actions.Plan(chains=((actions.Create(service("y")),),))

    async def scenario() -> None:
        api = Held(*(f"create {name}" for name in made))
        executor = an_executor(api, cache.Cache(), Events())
        hanging = asyncio.create_task(executor.run(KEY, regarding=REGARDING, plan=many))
        await turns_of_the_loop()
        other = keys.SetKey("ns", "other")
        assert (await executor.run(other, regarding=REGARDING, plan=one)).writes == 1
        for event in api.held.values():
            event.set()
        await hanging

    asyncio.run(scenario())


def test_a_pass_that_gives_way_leaves_what_it_has_yet_to_make_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writes, "MOST_PARALLEL", 1)
    created = actions.Event("Normal", "Created", "made")
    plan = actions.Plan(
        chains=(
            *((actions.Create(service(f"x{n}"), events=(created,)),) for n in range(5)),
            (actions.Apply(stateful_set("leaders"), "f"),),
            (delete("failed"),),
            (delete("p", stops=True),),
            (RELEASE,),
        ),
        status=STATUS,
        finish=(delete("old", "Service"),),
    )
    api, events = ScriptedApi(), Events()
    api.objects["w"] = workload("5")
    store = cache.Cache()
    store.upsert(resources.WORKLOADS, workload("5"))

    async def scenario() -> writes.Outcome:
        executor = an_executor(api, store, events)
        return await executor.run(
            KEY, regarding=REGARDING, plan=plan, gives_way=lambda written: written >= 4
        )

    outcome = asyncio.run(scenario())
    assert outcome.left
    assert not outcome.failed
    assert not outcome.stale
    made = [call for call in api.calls if call.startswith("create")]
    assert 0 < len(made) < 5
    assert len([event for event in events.sent if event == created]) == len(made)
    for call in ("delete p", "patch a", "apply leaders", "delete failed", "patch set"):
        assert call in api.calls
    assert "delete old" not in api.calls, "not everything has happened that it comes after"


def test_many_chains_are_begun_some_at_a_time() -> None:
    plan = actions.Plan(chains=tuple((actions.Create(service(f"x{n}")),) for n in range(500)))
    most = 0

    async def scenario() -> None:
        nonlocal most

        async def watch() -> None:
            nonlocal most
            before = 0
            while True:
                begun = len(asyncio.all_tasks())
                most, before = max(most, begun - before), begun
                await asyncio.sleep(0)

        executor = an_executor(Held("create x0"), cache.Cache(), Events())
        watching = asyncio.create_task(watch())
        running = asyncio.create_task(executor.run(KEY, regarding=REGARDING, plan=plan))
        await turns_of_the_loop()
        running.cancel()
        watching.cancel()
        await asyncio.gather(running, watching, return_exceptions=True)
        assert len(asyncio.all_tasks()) == 1, "what was begun is over with the pass"

    asyncio.run(scenario())
    assert most <= 2 * execute.AT_ONCE


@pytest.mark.parametrize("status", [0, 504])
@pytest.mark.parametrize("what", sorted(A_GUARD_THAT_STANDS))
@pytest.mark.parametrize("happened", [False, True])
def test_what_is_not_answered_in_time_is_looked_at_and_decided_anew(
    what: str, status: int, happened: bool
) -> None:
    write = A_GUARD_THAT_STANDS[what]
    verb = type(write).__name__.lower()
    api = ScriptedApi({f"{verb} x": refusal(status, "Timeout")})
    creates, deletes = isinstance(write, actions.Create), isinstance(write, actions.Delete)
    before, after = service("x"), service("x")
    before["metadata"] |= {"uid": "u", "resourceVersion": "3"}
    after["metadata"] |= {"uid": "u", "resourceVersion": "4"}
    by_then = (after if happened else None) if creates else (after if happened else before)
    if not (deletes and happened) and by_then is not None:
        api.objects["x"] = by_then
    plan = actions.Plan(chains=((write, actions.Create(service("after"))),))
    outcome, _, _ = carry_out(plan, api, known=[] if creates else [before])
    # What rests on an object that is there, or is gone, goes on; all else waits for the next pass.
    assert ("create after" in api.calls) is (happened and (creates or deletes))
    assert "get x" in api.calls
    assert (outcome.stale, outcome.failed) == (happened, not happened)
    assert outcome.refused == []
    assert write not in outcome.made


# Other clusters -----------------------------------------------------------------------------------


def offered(uid: str = "w", *, true: Iterable[str] = ()) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ns", "name": "wl", "uid": uid, "resourceVersion": "5"},
        "status": {"conditions": [{"type": kind, "status": "True"} for kind in true]},
    }


OFFER = actions.Ref(names.KUEUE_API_VERSION, "Workload", "ns", "wl", "w1")
ADMITTED = actions.Expect(OFFER, uid="w", true=("Admitted",), false=("Evicted",))
ABSENT = actions.Expect(OFFER)


@pytest.mark.row("MK-44", "MK-45")
@pytest.mark.parametrize(
    ("expected", "there", "holds"),
    [
        (ADMITTED, offered(true=("Admitted",)), True),
        (ADMITTED, offered(true=("Admitted", "Evicted")), False),
        (ADMITTED, offered(), False),
        (ADMITTED, offered("another", true=("Admitted",)), False),
        (ADMITTED, None, False),
        (ABSENT, None, True),
        (ABSENT, offered(), False),
    ],
)
@pytest.mark.parametrize("cluster", ["", "w1"])
def test_a_write_is_sent_only_if_what_it_rests_on_holds_in_other_clusters_right_before_it(
    cluster: str, expected: actions.Expect, there: dict[str, Any] | None, holds: bool
) -> None:
    here, other = ScriptedApi(), ScriptedApi()
    if there is not None:
        other.objects["wl"] = there

    async def scenario() -> writes.Outcome:
        writer = writes.Writer(
            api=other,  # type: ignore[arg-type]
            store=cache.Cache(),
            expect=lambda _: None,
            events=Events(),  # type: ignore[arg-type]
        )
        executor = an_executor(here, cache.Cache(), Events(), elsewhere={"w1": writer}.get)
        write = actions.Apply(service("made"), "us", expects=(expected,), cluster=cluster)
        return await executor.chain(KEY, regarding=REGARDING, chain=(write, write))

    outcome = asyncio.run(scenario())
    sent = (other if cluster else here).calls
    assert sent.count("apply made") == (2 if holds else 0)
    assert (outcome.stale, outcome.failed) == (not holds, False)


def test_nothing_is_written_to_a_cluster_that_is_not_connected() -> None:
    api = ScriptedApi()
    deletion = actions.Delete(OFFER, "w")
    plan = actions.Plan(chains=((deletion, actions.Create(service("next"))),))
    outcome, _, _ = carry_out(plan, api)
    assert api.calls == []
    assert outcome.stale
    assert not outcome.failed
