"""The schemas of queues, flavors and their like (kueue-contract 2).

Names, types, bounds, defaults and list types are those of Kueue's API, so that a manifest
accepted here is accepted there, whether the stand-in serves every feature of it or not.
"""

from typing import Any, Final

from lws_kueue_lab.kueue_standin import schema_parts as parts

Json = dict[str, Any]


def _usage(*, borrowed: bool) -> Json:
    resource = parts.obj("name", name=parts.text(), total=parts.QUANTITY)
    if borrowed:
        resource["properties"]["borrowed"] = parts.QUANTITY
    flavor = parts.obj(
        "name resources", name=parts.name(), resources=parts.array(resource, 64, keys="name")
    )
    return parts.array(flavor, 64, keys="name")


def _queue_status(*, borrowed: bool) -> Json:
    return parts.obj(
        admittedWorkloads=parts.integer(),
        conditions=parts.CONDITIONS,
        flavorsReservation=_usage(borrowed=borrowed),
        flavorsUsage=_usage(borrowed=borrowed),
        pendingWorkloads=parts.integer(),
        reservingWorkloads=parts.integer(),
    )


_STOP_POLICY: Final = parts.choice("None", "Hold", "HoldAndDrain", default="None")
_FAIR_SHARING: Final = parts.obj(weight=parts.QUANTITY | {"default": 1})


def local_queue() -> Json:
    """The definition of LocalQueue."""
    spec = parts.obj(
        clusterQueue=parts.name() | {"x-kubernetes-validations": [parts.FROZEN]},
        fairSharing=_FAIR_SHARING,
        stopPolicy=_STOP_POLICY,
    )
    return parts.definition(
        "LocalQueue",
        schema=parts.obj(spec=spec, status=_queue_status(borrowed=False)),
        short=["queue", "queues", "lq"],
        columns=[
            ("ClusterQueue", "string", ".spec.clusterQueue"),
            ("Pending Workloads", "integer", ".status.pendingWorkloads"),
            ("Admitted Workloads", "integer", ".status.admittedWorkloads"),
        ],
    )


def _resource_groups() -> Json:
    resource = parts.obj(
        "name nominalQuota",
        name=parts.text(),
        nominalQuota=parts.QUANTITY,
        borrowingLimit=parts.QUANTITY,
        lendingLimit=parts.QUANTITY,
    )
    flavor = parts.obj(
        "name resources",
        name=parts.name(),
        resources=parts.array(resource, 64, keys="name", minItems=1),
    )
    group = parts.obj(
        "coveredResources flavors",
        coveredResources=parts.array(parts.text(), 64, minItems=1),
        flavors=parts.array(flavor, 64, keys="name", minItems=1),
        rules=[
            parts.rule(
                "self.flavors.all(x, size(x.resources) == size(self.coveredResources))",
                "flavors must have the same number of resources as the coveredResources",
            )
        ],
    )
    return parts.array(group, 16)


def _preemption() -> Json:
    policies = ("Never", "LowerPriority")
    return parts.obj(
        borrowWithinCohort=parts.obj(
            maxPriorityThreshold=parts.integer(), policy=parts.choice(*policies, default="Never")
        )
        | {"default": {}},
        reclaimWithinCohort=parts.choice(*policies, "Any", default="Never"),
        withinClusterQueue=parts.choice(*policies, "LowerOrNewerEqualPriority", default="Never"),
        rules=[
            parts.rule(
                "self.reclaimWithinCohort != 'Never' || !has(self.borrowWithinCohort) ||"
                " self.borrowWithinCohort.policy == 'Never'",
                "borrowWithinCohort needs reclaimWithinCohort",
            )
        ],
    ) | {"default": {}}


def _fungibility() -> Json:
    return parts.obj(
        preference=parts.choice("BorrowingOverPreemption", "PreemptionOverBorrowing"),
        whenCanBorrow=parts.choice("MayStopSearch", "TryNextFlavor", default="MayStopSearch"),
        whenCanPreempt=parts.choice("MayStopSearch", "TryNextFlavor", default="TryNextFlavor"),
    ) | {"default": {}}


def cluster_queue() -> Json:
    """The definition of ClusterQueue."""
    check = parts.obj(
        "name",
        name=parts.text(316, minLength=1),
        onFlavors=parts.array(parts.name(), 64) | {"x-kubernetes-list-type": "set"},
    )
    selector = parts.obj(
        matchExpressions=parts.array(
            parts.obj(
                "key operator",
                key=parts.text(),
                operator=parts.text(),
                values=parts.array(parts.text()),
            )
        ),
        matchLabels=parts.mapping(),
    ) | {"x-kubernetes-map-type": "atomic"}
    spec = parts.obj(
        admissionChecksStrategy=parts.obj(
            "admissionChecks", admissionChecks=parts.array(check, 64, keys="name", minItems=1)
        ),
        admissionScope=parts.obj(
            "admissionMode",
            admissionMode=parts.choice("UsageBasedAdmissionFairSharing", "NoAdmissionFairSharing"),
        ),
        cohortName=parts.name(),
        concurrentAdmissionPolicy=parts.ANY,
        fairSharing=_FAIR_SHARING,
        flavorFungibility=_fungibility(),
        namespaceSelector=selector,
        preemption=_preemption(),
        queueingStrategy=parts.choice("StrictFIFO", "BestEffortFIFO", default="BestEffortFIFO"),
        resourceGroups=_resource_groups(),
        stopPolicy=_STOP_POLICY,
        rules=[
            parts.rule(
                "has(self.cohortName) || !has(self.resourceGroups) || self.resourceGroups.all(g,"
                " g.flavors.all(f, f.resources.all(r, !has(r.borrowingLimit))))",
                "borrowingLimit must be nil when cohort is empty",
            )
        ],
    )
    return parts.definition(
        "ClusterQueue",
        schema=parts.obj(spec=spec, status=_queue_status(borrowed=True)),
        short=["cq"],
        namespaced=False,
        columns=[
            ("Cohort", "string", ".spec.cohortName"),
            ("Pending Workloads", "integer", ".status.pendingWorkloads"),
        ],
    )


def cohort() -> Json:
    """The definition of Cohort."""
    spec = parts.obj(
        fairSharing=_FAIR_SHARING,
        parentName=parts.name(),
        resourceGroups=_resource_groups(),
    )
    return parts.definition(
        "Cohort",
        schema=parts.obj(spec=spec, status=parts.ANY),
        short=[],
        namespaced=False,
    )


def _kept_with_topology(field: str) -> Json:
    same = f"(!has(self.{field}) || self.{field} == oldSelf.{field})"
    return parts.rule(
        f"!has(oldSelf.topologyName) || (has(self.{field}) == has(oldSelf.{field}) && {same})",
        f"{field} is immutable when topologyName is set",
    )


def resource_flavor() -> Json:
    """The definition of ResourceFlavor."""
    taint = parts.obj(
        "effect key",
        effect=parts.choice("NoSchedule", "PreferNoSchedule", "NoExecute"),
        key=parts.text(),
        timeAdded=parts.TIME,
        value=parts.text(),
    )
    spec = parts.obj(
        nodeLabels=parts.mapping(maxProperties=8) | {"x-kubernetes-map-type": "atomic"},
        nodeTaints=parts.array(taint, 8),
        tolerations=parts.TOLERATIONS,
        topologyName=parts.name(),
        rules=[
            parts.rule(
                "!has(self.topologyName) || (has(self.nodeLabels) && self.nodeLabels.size() >= 1)",
                "at least one nodeLabel is required when topology is set",
            ),
            *(_kept_with_topology(f) for f in ("topologyName", "nodeLabels", "tolerations")),
        ],
    )
    return parts.definition(
        "ResourceFlavor",
        schema=parts.obj(spec=spec),
        short=["flavor", "flavors", "rf"],
        namespaced=False,
        status=False,
    )


def topology() -> Json:
    """The definition of Topology."""
    level = parts.obj("nodeLabel", nodeLabel=parts.text(316, minLength=1))
    hostname = "'kubernetes.io/hostname'"
    levels = parts.array(level, 16, minItems=1) | {
        "x-kubernetes-validations": [
            parts.FROZEN,
            parts.rule("self.all(i, self.filter(j, j == i).size() == 1)", "must be unique"),
            parts.rule(
                f"self.all(i, i.nodeLabel != {hostname}) ||"
                f" self[size(self) - 1].nodeLabel == {hostname}",
                "kubernetes.io/hostname can only be the lowest level",
            ),
        ]
    }
    return parts.definition(
        "Topology",
        schema=parts.obj("spec", spec=parts.obj("levels", levels=levels)),
        short=["topo"],
        plural="topologies",
        namespaced=False,
        status=False,
    )


def priority_class() -> Json:
    """The definition of WorkloadPriorityClass."""
    return parts.definition(
        "WorkloadPriorityClass",
        schema=parts.obj("value", value=parts.integer(), description=parts.text(2048)),
        short=["wpc"],
        plural="workloadpriorityclasses",
        namespaced=False,
        status=False,
        columns=[("Value", "integer", ".value")],
    )


def admission_check() -> Json:
    """The definition of AdmissionCheck."""
    controller = parts.text(253, minLength=1) | {"x-kubernetes-validations": [parts.FROZEN]}
    spec = parts.obj(
        "controllerName",
        controllerName=controller,
        parameters=parts.obj(
            "apiGroup kind name",
            apiGroup=parts.name(minLength=1),
            kind=parts.text(63, minLength=1),
            name=parts.text(63, minLength=1, pattern=parts.LABEL_NAME),
        ),
    )
    return parts.definition(
        "AdmissionCheck",
        schema=parts.obj(spec=spec, status=parts.obj(conditions=parts.CONDITIONS)),
        short=["ac"],
        namespaced=False,
    )
