"""Everything one pass over a set may look at, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from lws_kueue.api import completion, facts, lws, names
from lws_kueue.api import kueue as kueue_api
from lws_kueue.controller import repairs
from lws_kueue.controller.observe import groups, members
from lws_kueue.dispatch import observed as clusters
from lws_kueue.workload import backing, build, state

Support = Literal["served", "missing", "unsupported"]


@dataclass(frozen=True, slots=True)
class Kueue:
    """What is known of Kueue; ``detail`` says in words what is wrong unless it is served.

    Mappings are by name. ``local_queues`` are those of the set's namespace. ``takes_unlabelled``
    says that sets without a queue wait for Kueue in that namespace, too; ``built_in`` whether
    Kueue's own LeaderWorkerSet integration is on for it, None while nobody knows, and
    ``built_in_trouble`` why the last look at that failed, "" if it did not. ``of_owner`` are the
    Workloads of the object that controls the set.
    """

    support: Support
    detail: str = ""
    takes_unlabelled: bool = False
    built_in: bool | None = None
    built_in_trouble: str = ""
    of_owner: tuple[kueue_api.Workload, ...] = ()
    local_queues: Mapping[str, kueue_api.LocalQueue] = field(default_factory=dict)
    cluster_queues: Mapping[str, kueue_api.ClusterQueue] = field(default_factory=dict)
    flavors: Mapping[str, kueue_api.ResourceFlavor] = field(default_factory=dict)
    workload_priority_classes: Mapping[str, kueue_api.WorkloadPriorityClass] = field(
        default_factory=dict
    )
    priority_classes: Mapping[str, kueue_api.PriorityClass] = field(default_factory=dict)
    admission_checks: Mapping[str, kueue_api.AdmissionCheck] = field(default_factory=dict)


Conditions = tuple[lws.Condition, ...]
InvalidSet = lws.InvalidSet


@dataclass(frozen=True)
class Observed:
    """A set and its objects by name; ``lws`` is None when the set itself is gone.

    It is None as well where the set is there and cannot be read, and ``invalid`` says why.
    ``remembered`` are the members of each group by index, from when it was last complete.
    ``pod_groups`` is None unless Volcano schedules groups. ``nodes`` are those that a decision has
    asked for (``decide.nodes_asked``); None is a node that is not there. ``refusals`` say by name
    of a StatefulSet why its newest pod was refused (``shortages.asked``). ``unwritten`` are the
    conditions of a status that was decided on and is not written yet; None if there is none.
    ``limit_ranges`` are those of the namespace; ``attempts`` are the writes that were made for the
    set in the last minutes. ``workers`` are the clusters in which groups may run, None where worker
    clusters are switched off. ``memo`` saves work, and changes nothing of what is decided.
    """

    namespace: str
    name: str
    lws: lws.LeaderWorkerSet | None
    kueue: Kueue
    invalid: InvalidSet | None = None
    stateful_sets: Mapping[str, facts.StatefulSet] = field(default_factory=dict)
    pods: Mapping[str, facts.Pod] = field(default_factory=dict)
    services: Mapping[str, facts.Service] = field(default_factory=dict)
    revisions: Mapping[str, facts.Revision] = field(default_factory=dict)
    workloads: Mapping[str, kueue_api.Workload] = field(default_factory=dict)
    pod_groups: Mapping[str, facts.Named] | None = None
    nodes: Mapping[str, facts.Node | None] = field(default_factory=dict)
    limit_ranges: Mapping[str, completion.LimitRange] = field(default_factory=dict)
    runtime_classes: Mapping[str, completion.RuntimeClass] = field(default_factory=dict)
    refusals: Mapping[str, str] = field(default_factory=dict)
    remembered: Mapping[int, members.Members] = field(default_factory=dict)
    unwritten: Conditions | None = None
    attempts: repairs.Attempts = field(default_factory=repairs.Attempts)
    workers: clusters.Workers | None = None
    memo: groups.Memo = field(default_factory=groups.Memo, compare=False, repr=False)

    @property
    def meta(self) -> facts.Meta | None:
        """The metadata of the set, None when it is gone."""
        return self.lws.meta if self.lws else self.invalid.meta if self.invalid else None

    @property
    def gone(self) -> bool:
        """Whether the set is not there any more."""
        return self.lws is None and self.invalid is None

    @cached_property
    def found(self) -> groups.Groups:
        """The groups of the set, put together once for all that is asked of them."""
        if self.lws is None:
            return groups.Groups(None)
        return groups.observe(
            self.lws,
            stateful_sets=self.stateful_sets,
            pods=self.pods,
            services=self.services,
            known=self.memo,
        )

    @cached_property
    def past(self) -> groups.Past:
        """What tells whether the set can have pods from before it waited for Kueue."""
        if self.lws is None:
            return groups.Past()
        uid = self.lws.meta.uid

        def made(_: str, workload: kueue_api.Workload) -> str | None:
            owned = any(owner.uid == uid for owner in workload.meta.owners)
            return workload.meta.created if owned else None

        times = self.memo.each("asked for quota", made, self.workloads, given=(uid,))
        oldest = self.memo.whole("asked since", _first, times)
        told = self.lws.status.conditions
        # While it has no Workload it says that it waits for one.
        waits = [one.last_transition_time for one in told if one.type == names.WAITING]
        # Once it is being deleted nothing is made for it any more.
        known = (oldest, *waits, self.lws.meta.deleted)
        return groups.Past(
            made=self.lws.meta.created,
            asked=min((time for time in known if time), default=""),
            served=bool(told),
        )

    @cached_property
    def stateful_sets_that_go(self) -> Mapping[str, facts.StatefulSet]:
        """The StatefulSets that are being deleted, by name."""
        return self.memo.each("StatefulSets that go", _going, self.stateful_sets)

    @cached_property
    def workloads_that_go(self) -> Mapping[str, kueue_api.Workload]:
        """The Workloads that are being deleted, by name."""
        return self.memo.each("Workloads that go", state.going, self.workloads)

    def terms(self, options: build.Options) -> backing.Terms:
        """Return what admissions of the set's groups depend on beside their Workloads."""
        return backing.Terms(
            checks=self.kueue.admission_checks,
            flavors=self.kueue.flavors,
            injected_containers=options.injected_containers,
        )

    def looked_up(
        self,
        *,
        nodes: Mapping[str, facts.Node | None] | None = None,
        refusals: Mapping[str, str] | None = None,
        workers: clusters.Workers | None = None,
    ) -> "Observed":
        """Return the same with what no watch tells; the groups are what they were."""
        more = replace(
            self,
            nodes=self.nodes if nodes is None else nodes,
            refusals=self.refusals if refusals is None else refusals,
            workers=self.workers if workers is None else workers,
        )
        if "found" in self.__dict__:
            more.__dict__["found"] = self.found
        return more


def _first(times: Mapping[str, str]) -> str:
    return min(times.values(), default="")


def _going(_name: str, stateful_set: facts.StatefulSet) -> facts.StatefulSet | None:
    return stateful_set if stateful_set.meta.deleting else None
