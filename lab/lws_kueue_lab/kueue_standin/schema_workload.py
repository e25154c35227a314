"""The schema of Workloads (kueue-contract 2.1 to 2.3).

Names, types, bounds, defaults and list types are those of Kueue's API, so that what is accepted
here is accepted there. Pod templates stay open, but for what Kueue's schema does to them:
metadata is pruned, and lists with keys get their keys and defaults.
"""

from typing import Any, Final

from lws_kueue.api import names
from lws_kueue_lab.kueue_standin import schema_parts as parts

Json = dict[str, Any]


def _open(**properties: Json) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "x-kubernetes-preserve-unknown-fields": True,
    }


def _named(name: str = "name") -> Json:
    return _open(**{name: parts.text()}) | {"required": [name]}


def _probe() -> Json:
    return _open(grpc=_open(service=parts.text(default="")))


def _container() -> Json:
    port = _open(containerPort=parts.integer(), protocol=parts.text(default="TCP"))
    container = _open(
        name=parts.text(),
        env=parts.array(_named(), keys="name"),
        ports=parts.array(port | {"required": ["containerPort"]}, keys="containerPort protocol"),
        livenessProbe=_probe(),
        readinessProbe=_probe(),
        startupProbe=_probe(),
        volumeMounts=parts.array(_named("mountPath"), keys="mountPath"),
        volumeDevices=parts.array(_named("devicePath"), keys="devicePath"),
    )
    return container | {"required": ["name"]}


def _pod_template() -> Json:
    containers = parts.array(_container(), keys="name")
    return parts.obj(
        metadata=parts.obj(
            annotations=parts.mapping(),
            finalizers={"type": "array", "items": parts.text()},
            labels=parts.mapping(),
            name=parts.text(),
            namespace=parts.text(),
        ),
        spec=_open(
            containers=containers,
            initContainers=containers,
            ephemeralContainers=containers,
            volumes=parts.array(_named(), keys="name"),
            schedulingGates=parts.array(_named(), keys="name"),
        ),
    )


_PRIORITY_CLASS_REF: Final = parts.obj(
    "group kind name",
    group=parts.choice(names.KUEUE_GROUP, "scheduling.k8s.io"),
    kind=parts.choice("WorkloadPriorityClass", "PriorityClass"),
    name=parts.name(minLength=1),
    rules=[
        parts.rule(
            f"(self.group == '{names.KUEUE_GROUP}') == (self.kind == 'WorkloadPriorityClass')",
            "WorkloadPriorityClass belongs to kueue.x-k8s.io, PriorityClass to scheduling.k8s.io",
        )
    ],
)

_TOPOLOGY_REQUEST: Final = parts.obj(
    podIndexLabel=parts.text(317),
    podSetGroupName=parts.text(256),
    podSetSliceRequiredTopology=parts.text(63),
    podSetSliceSize=parts.integer(),
    podsetSliceRequiredTopologyConstraints=parts.array(
        parts.obj("size topology", size=parts.integer(1), topology=parts.text(63, minLength=1)), 3
    ),
    preferred=parts.text(63),
    required=parts.text(63),
    subGroupCount=parts.integer(),
    subGroupIndexLabel=parts.text(317),
    unconstrained=parts.BOOLEAN,
)


def _pod_set() -> Json:
    return parts.obj(
        "template",
        count=parts.integer(0, default=1),
        minCount=parts.integer(1),
        name=parts.text(63, default="main", pattern=parts.LABEL_NAME),
        template=_pod_template(),
        topologyRequest=_TOPOLOGY_REQUEST,
        rules=[
            parts.rule(
                "!has(self.minCount) || self.minCount <= self.count",
                "minCount should be positive and less or equal to count",
            )
        ],
    )


def _topology_assignment() -> Json:
    values = parts.obj(
        universal=parts.text(63),
        individual=parts.obj(
            "roots",
            prefix=parts.text(63),
            suffix=parts.text(63),
            roots=parts.array(parts.text(63), 100000, minItems=1),
        ),
        rules=[parts.ONE_OF_TWO],
    )
    counts = parts.obj(
        universal=parts.integer(1),
        individual=parts.array(parts.integer(1), 100000, minItems=1),
        rules=[parts.ONE_OF_TWO],
    )
    part = parts.obj(
        "domainCount podCounts valuesPerLevel",
        domainCount=parts.integer(1),
        podCounts=counts,
        valuesPerLevel=parts.array(values, 16, minItems=1),
        rules=[
            parts.rule(
                "!has(self.podCounts.individual) ||"
                " size(self.podCounts.individual) == self.domainCount",
                "podCounts.individual must have length equal to domainCount",
            ),
            parts.rule(
                "self.valuesPerLevel.all(x,"
                " !has(x.individual) || size(x.individual.roots) == self.domainCount)",
                "valuesPerLevel.individual must have as many roots as domainCount",
            ),
        ],
    )
    return parts.obj(
        "levels slices",
        levels=parts.array(parts.text(317), 16, minItems=1),
        slices=parts.array(part, 1000),
        rules=[
            parts.rule(
                "self.slices.all(x, size(x.valuesPerLevel) == size(self.levels))",
                "valuesPerLevel must have the same length as levels",
            )
        ],
    )


def _admission() -> Json:
    assignment = parts.obj(
        count=parts.integer(0),
        delayedTopologyRequest=parts.choice("Pending", "Ready"),
        flavors=parts.mapping(parts.name()),
        name=parts.text(63, default="main", pattern=parts.LABEL_NAME),
        resourceUsage=parts.mapping(parts.QUANTITY),
        topologyAssignment=_topology_assignment(),
    )
    return parts.obj(
        clusterQueue=parts.name(), podSetAssignments=parts.array(assignment, 18, keys="name")
    )


def _admission_checks() -> Json:
    update = parts.obj(
        "name",
        annotations=parts.mapping(),
        labels=parts.mapping(),
        name=parts.text(63, pattern=parts.LABEL_NAME),
        nodeSelector=parts.mapping(),
        tolerations=parts.TOLERATIONS,
    )
    check = parts.obj(
        "lastTransitionTime message name state",
        lastTransitionTime=parts.TIME,
        message=parts.text(32768),
        name=parts.text(316, minLength=1),
        podSetUpdates=parts.array(update, 18),
        requeueAfterSeconds=parts.integer(0),
        retryCount=parts.integer(0),
        state=parts.choice("Pending", "Ready", "Retry", "Rejected"),
    )
    return parts.array(check, 8, keys="name")


def _workload_status() -> Json:
    requests = parts.obj("name", name=parts.text(63), resources=parts.mapping(parts.QUANTITY))
    eviction = parts.obj(
        "count reason underlyingCause",
        count=parts.integer(0),
        reason=parts.text(316),
        underlyingCause=parts.text(316),
    )
    return parts.obj(
        accumulatedPastExecutionTimeSeconds=parts.integer(),
        admission=_admission(),
        admissionChecks=_admission_checks(),
        clusterName=parts.text(256),
        conditions=parts.CONDITIONS,
        nominatedClusterNames=parts.array(parts.text(256), 20),
        preemptionGates=parts.array(
            parts.obj(
                "lastTransitionTime name position",
                lastTransitionTime=parts.TIME,
                name=parts.text(63, minLength=1),
                position=parts.choice("Closed", "Open"),
            ),
            8,
            keys="name",
        ),
        reclaimablePods=parts.array(
            parts.obj("count name", count=parts.integer(0), name=parts.text(63)), 18, keys="name"
        ),
        requeueState=parts.obj(count=parts.integer(0), requeueAt=parts.TIME),
        resourceRequests=parts.array(requests, 18, keys="name"),
        schedulingStats=parts.obj(
            evictions=parts.array(eviction, 256, keys="reason underlyingCause")
        ),
        unhealthyNodes=parts.array(parts.obj("name", name=parts.text(63)), 8, keys="name"),
        rules=[
            parts.rule(
                "!has(oldSelf.clusterName) || !has(self.clusterName) ||"
                " oldSelf.clusterName == self.clusterName",
                "clusterName is immutable once set",
            )
        ],
    )


def workload() -> Json:
    """The definition of Workload."""
    gate = parts.obj("name", name=parts.text(63, minLength=1))
    spec = parts.obj(
        active=parts.BOOLEAN | {"default": True},
        maximumExecutionTimeSeconds=parts.integer(1),
        podSets=parts.array(_pod_set(), 18, keys="name", minItems=1),
        preemptionGates=parts.array(gate, 8, keys="name"),
        priority=parts.integer(),
        priorityClassRef=_PRIORITY_CLASS_REF,
        queueName=parts.name(),
        rules=[
            parts.rule(
                "!has(self.priorityClassRef) || has(self.priority)",
                "priority should not be nil when priorityClassRef is set",
            )
        ],
    )
    columns = [
        ("Queue", "string", ".spec.queueName"),
        ("Reserved in", "string", ".status.admission.clusterQueue"),
        ("Admitted", "string", ".status.conditions[?(@.type=='Admitted')].status"),
        ("Finished", "string", ".status.conditions[?(@.type=='Finished')].status"),
        ("Age", "date", ".metadata.creationTimestamp"),
    ]
    return parts.definition(
        "Workload",
        schema=parts.obj(spec=spec, status=_workload_status()),
        short=["kwl", "kueueworkload", "kueueworkloads"],
        columns=columns,
        selectable=[".status.admission.clusterQueue"],
    )
