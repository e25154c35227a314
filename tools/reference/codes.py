"""Every reason that users see on a set or a Workload, what it means, and what to do about it.

A reason is one word for programs (``api.reasons.Reason.code``). It stands in Warning events of a
set and in the condition `WaitingForAdmission`; events of type Normal tell what was done.
docs/reference.md is made of this, and a test compares it with the words in the code.
"""

from dataclasses import dataclass
from typing import Final, Literal

Where = Literal["waits", "Warning", "Normal"]

WAITS: Final = "WaitingForAdmission"


@dataclass(frozen=True, slots=True)
class Code:
    """One reason: where it is told, what it means, and what a person can do, "" for nothing.

    ``where`` has "waits" for the condition `WaitingForAdmission`, and the types of events.
    """

    name: str
    where: tuple[Where, ...]
    meaning: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: of which kind of object, its type, its reasons, and what True means."""

    kind: Literal["LeaderWorkerSet", "Workload"]
    name: str
    reasons: tuple[str, ...]
    meaning: str


_WAITS: Final[tuple[Where, ...]] = ("waits",)
_WARNS: Final[tuple[Where, ...]] = ("Warning",)
_BOTH: Final[tuple[Where, ...]] = ("waits", "Warning")
_NORMAL: Final[tuple[Where, ...]] = ("Normal",)

CONDITIONS: Final = (
    Condition(
        "LeaderWorkerSet",
        "Available",
        ("AllGroupsReady",),
        "All groups are ready, and at the current revision.",
    ),
    Condition(
        "LeaderWorkerSet",
        "Progressing",
        ("GroupsProgressing",),
        "Groups are being made, or are not ready yet. Never True together with Available.",
    ),
    Condition(
        "LeaderWorkerSet",
        "UpdateInProgress",
        ("GroupsUpdating",),
        "A rolling update goes on. Never True together with Available.",
    ),
    Condition(
        "LeaderWorkerSet",
        WAITS,
        (),
        "Groups wait. It is there only while they do; its reason is that of the first of them, any"
        " that is told by waits below, and its message names groups and causes.",
    ),
    Condition(
        "LeaderWorkerSet",
        "Dispatched",
        ("AllGroupsPlaced", "GroupsNotPlaced"),
        "All groups have a worker cluster. It stands on sets whose queue asks for dispatch by"
        " group, and its message names the cluster of each group.",
    ),
    Condition(
        "LeaderWorkerSet",
        "RepairBackOff",
        ("WritesUndone",),
        "Somebody undoes what the controller writes, again and again, and it is repeated with the"
        " longest pause. The message says who, where that can be known.",
    ),
    Condition(
        "Workload",
        "PodsReady",
        ("WaitForStart", "Started", "WaitForRecovery", "Recovered"),
        "All pods of the group are ready.",
    ),
    Condition(
        "Workload",
        "QuotaReserved",
        ("Pending",),
        "Set to False when an evicted group has stopped, as Kueue's own integrations do.",
    ),
    Condition(
        "Workload",
        "Admitted",
        ("NoReservation",),
        "Set to False when an evicted group has stopped.",
    ),
    Condition(
        "Workload",
        "Requeued",
        ("Preempted", "NodeFailures", "Deactivated"),
        "Whether the evicted group may queue again at once. The reason is that of the eviction, any"
        " that Kueue gives.",
    ),
)

CODES: Final = (
    # What Kueue, or its objects, keep a group waiting for ----------------------------------------
    Code(
        "Pending",
        _WAITS,
        "Kueue has not considered the Workload yet, or says what is missing: its message is told,"
        " with the ClusterQueue. A reason that Kueue gives stands in its place.",
        "Wait, or give the ClusterQueue quota. Where it does not cover a resource at all, there is"
        " a Warning, and waiting does not help.",
    ),
    Code(
        "QueueNotSet",
        _BOTH,
        "The set names no LocalQueue, and sets without one wait too.",
        "Give it the label kueue.x-k8s.io/queue-name.",
    ),
    Code(
        "LocalQueueMissing",
        _BOTH,
        "The LocalQueue of the set does not exist.",
        "Make it, or name another one in the label of the set.",
    ),
    Code("LocalQueueStopped", _WAITS, "The LocalQueue is stopped.", "Set its stopPolicy to None."),
    Code(
        "ClusterQueueMissing",
        _BOTH,
        "The ClusterQueue of the LocalQueue does not exist.",
        "Make it, or name another one in the LocalQueue.",
    ),
    Code(
        "ClusterQueueStopped", _WAITS, "The ClusterQueue is stopped.", "Set its stopPolicy to None."
    ),
    Code(
        "ClusterQueueInactive",
        _BOTH,
        "The ClusterQueue is not active; its condition Active says why, for example a flavor that"
        " does not exist.",
        "Do what the message says.",
    ),
    Code(
        "AdmissionGated",
        _WAITS,
        "The annotation kueue.x-k8s.io/admission-gated-by keeps the Workload from being admitted.",
        "Whoever gated it takes its name out of the annotation of the set.",
    ),
    Code(
        "AdmissionCheckPending", _WAITS, "Quota is reserved; an admission check is not ready yet."
    ),
    Code("AdmissionCheckRetry", _WAITS, "An admission check asks Kueue to try again later."),
    Code(
        "CopyDiffers",
        _WAITS,
        "In a worker cluster: the Workload that MultiKueue has copied is for something else than"
        " the group's pods.",
        "Take back what was edited here, and edit the set in the cluster that it is from.",
    ),
    Code(
        "MultiKueueNotPossible",
        _BOTH,
        "The ClusterQueue asks for MultiKueue's check, and Kueue's own integration for sets, which"
        " alone it dispatches, is off. Groups ask for no quota.",
        "Give the set a queue without that check, or switch the integration on.",
    ),
    Code(
        "AdmissionCheckRejected",
        _WAITS,
        "An admission check refuses the group.",
        "Look at the check; Kueue deactivates the Workload.",
    ),
    Code("WaitingForAdmission", _WAITS, "Quota is reserved, and Kueue has not admitted yet."),
    Code("RunsElsewhere", _WAITS, "MultiKueue dispatches the group to another cluster."),
    # Dispatch by group ---------------------------------------------------------------------------
    Code(
        "NoClusterAdmits",
        _WAITS,
        "The group has quota here, and no worker cluster has taken it yet; each says why.",
    ),
    Code("NoClusterReachable", _WAITS, "No worker cluster answers."),
    Code(
        "WaitsForHome",
        _BOTH,
        "The set says where its groups are to be (lws-kueue.dev/placement or"
        " lws-kueue.dev/same-cluster-as), and no cluster is there for that yet: another group of it"
        " is offered first, or has not stopped elsewhere; or the set that it is to be beside has no"
        " cluster, or does not exist, which alone is a Warning. A group that was given to another"
        " cluster than the others is taken back.",
        "Wait, or do what the message says; without the annotation the group goes anywhere.",
    ),
    Code(
        "PlacementInvalid",
        _BOTH,
        "An annotation by which the set says where its groups are to be cannot be followed: an"
        " unknown value of lws-kueue.dev/placement, which is without effect; or"
        " lws-kueue.dev/same-cluster-as names the set itself, or sets that name each other, and"
        " then groups wait.",
        "Change the annotation that the message names.",
    ),
    Code(
        "NoClusterEligible",
        _WAITS,
        "No worker cluster can have groups.",
        "Look at the condition Active of the AdmissionCheck.",
    ),
    Code(
        "BuiltInIntegrationOn",
        _BOTH,
        "The ClusterQueue asks for dispatch by group, and Kueue's own integration for sets is on.",
        "Switch it off, or use MultiKueue's check.",
    ),
    Code(
        "TwoDispatchers",
        _BOTH,
        "The ClusterQueue asks for more than one check that dispatches.",
        "Leave one of them.",
    ),
    Code(
        "CheckPerFlavor",
        _BOTH,
        "The ClusterQueue asks for dispatch for some flavors only.",
        "Take onFlavors out of the check in the ClusterQueue.",
    ),
    Code(
        "ManagerFlavorHasTopology",
        _BOTH,
        "A flavor of the queue has a topology, by which groups would be placed on nodes here.",
        "Give the queue a flavor without topology.",
    ),
    Code(
        "RemoteNameTaken",
        _BOTH,
        "Something in a worker cluster has the name of a group's object, and is not ours.",
        "Delete or rename it there; it is tried again after five minutes.",
    ),
    Code(
        "ClusterLost",
        _BOTH,
        "The cluster of the group does not answer; after the time-out the group starts elsewhere.",
    ),
    Code(
        "ClusterDrained",
        _BOTH,
        "The cluster of the group was taken out of the configuration; the group moves.",
    ),
    Code(
        "GroupEvictedOnWorker",
        _BOTH,
        "The group's Workload in its cluster has lost its quota; the group is offered anew.",
    ),
    Code(
        "RemoteWorkloadOutdated",
        _BOTH,
        "The group's Workload in its cluster is for something else; the group is offered anew.",
    ),
    Code(
        "RemoteGroupNotReleased",
        ("Warning",),
        "A group is admitted in a worker cluster, and nobody there lets its pods go.",
        "Install lws-kueue there, or switch Kueue's LeaderWorkerSet integration on.",
    ),
    Code(
        "RemotePodsLeft",
        ("Warning",),
        "Pods run in a worker cluster, and no set of ours stands for them.",
        "Delete them there.",
    ),
    Code(
        "KueueMissing",
        _BOTH,
        "Kueue is not installed, so nothing can be admitted.",
        "Install Kueue; the controller notices.",
    ),
    Code(
        "KueueUnsupported",
        _BOTH,
        "Kueue is too old for the API that is needed.",
        "Use a Kueue that serves kueue.x-k8s.io/v1beta2.",
    ),
    Code(
        "ManagerUnknown",
        _BOTH,
        "The set has the mark of Kueue's own integration, and nobody knows whether that is on.",
        "Let one more set be created in the namespace, or take the mark out of the template.",
    ),
    # The Workload of a group ---------------------------------------------------------------------
    Code(
        "WorkloadMissing",
        _WAITS,
        "The Workload of the group is being created, or is made again at a time that is told.",
        "Where somebody deletes it each time, find out who (`RepairBackOff`).",
    ),
    Code("WorkloadDeleting", _WAITS, "The Workload is being deleted; another one follows."),
    Code(
        "WorkloadFinished",
        _BOTH,
        "The Workload is finished, which a group that serves never is.",
        "Delete it to queue the group again.",
    ),
    Code(
        "WorkloadDeactivated",
        _WAITS,
        "The Workload is deactivated, by a person or by Kueue.",
        "Set its spec.active to true.",
    ),
    Code("WorkloadEvicted", _WAITS, "The Workload is evicted, and the group stops."),
    Code(
        "WorkloadNameTaken",
        _BOTH,
        "A Workload of somebody else has the name of the group's.",
        "Delete it, or give the set another name.",
    ),
    Code(
        "WorkloadOutdated",
        _WAITS,
        "The Workload was admitted for something else; the group waits for another admission.",
    ),
    Code(
        "WorkloadUnreadable",
        _BOTH,
        "The Workload is written in a way that this version does not know.",
        "Use a version of lws-kueue that supports this version of Kueue.",
    ),
    Code(
        "WorkloadPriorityClassNotFound",
        _BOTH,
        "The class in the label kueue.x-k8s.io/priority-class does not exist.",
        "Make it, or name another one.",
    ),
    Code(
        "PriorityClassNotFound",
        _BOTH,
        "The priorityClassName of the pods does not exist.",
        "Make it, or name another one.",
    ),
    Code(
        "InvalidTopologyRequest",
        _BOTH,
        "The topology annotations of the templates contradict each other.",
        "Correct them as the message says.",
    ),
    Code(
        "QueueChangeDeferred",
        _WARNS,
        "The group keeps its quota in the queue that it had, until it is evicted.",
    ),
    Code(
        "RevisionUnknown",
        _BOTH,
        "Nobody can tell whether the Workload is for these pods: their revision is missing or"
        " broken, or their topology annotations are invalid.",
        "Restore the ControllerRevision, or delete the leader to have the group made anew.",
    ),
    Code(
        "PendingLimit",
        _WAITS,
        "As many groups wait as may; more are asked for when some of them are admitted.",
        "The setting lwsKueue.maxPendingWorkloads.",
    ),
    # Groups that are admitted, and cannot run ----------------------------------------------------
    Code(
        "PodsMissing",
        _WAITS,
        "The pods of the group are being made; it asks for quota when they are there. Or their"
        " names are kept for a while, because they were stopped again and again.",
    ),
    Code("PodSetMissing", _BOTH, "The admission has no part for some pods of the group."),
    Code(
        "PodSetUpdateConflict",
        _BOTH,
        "Flavors, admission checks and topology of the admission contradict each other, so no node"
        " can take the pod.",
        "Change the flavors, or what the message names.",
    ),
    Code(
        "PodConflict",
        _BOTH,
        "The pod has a value of its own where the admission has another one.",
        "Change the pod template of the set, or what sets the value, such as a webhook.",
    ),
    Code(
        "PodExceedsAdmission",
        _BOTH,
        "A pod requests more than was admitted, often because a container was injected.",
        "Ask for it in the template; or the setting lwsKueue.injectedContainers.",
    ),
    Code(
        "MorePodsThanAdmitted",
        _BOTH,
        "The group has more pods than were admitted.",
        "The pods that are too many have to end; the message names them.",
    ),
    Code(
        "ResourceFlavorNotFound",
        _BOTH,
        "A ResourceFlavor that the admission uses does not exist.",
        "Make it again, or deactivate the Workload.",
    ),
    Code(
        "TopologyAssignmentTooSmall",
        _BOTH,
        "The topology assignment has no place for some pods; they stay gated.",
    ),
    Code(
        "TopologyUnreadable",
        _BOTH,
        "The topology assignment cannot be read.",
        "Use a version of lws-kueue that supports this version of Kueue.",
    ),
    Code("NodeFailed", _BOTH, "A node of the group has failed, and Kueue has to replace it."),
    Code(
        "NodeUnfit",
        _BOTH,
        "A pod that comes back would go to a node that takes none: cordoned, tainted or gone.",
        "Make the node usable again, or delete the other pods of the group there.",
    ),
    Code(
        "PodUnschedulable",
        _BOTH,
        "A pod waits for the node that the topology assignment gives it, which has no room.",
        "Make room, or delete the Workload to have the group placed anew.",
    ),
    Code(
        "ReleaseRefused",
        _BOTH,
        "The API server refuses the patch that lets a pod go.",
        "Do what the message says; often it is a webhook or a policy.",
    ),
    Code(
        "SurgeNotAdmitted",
        _WARNS,
        "The surge groups of an update get no quota; groups are replaced in place.",
        "Give the queue quota, or set maxSurge to 0.",
    ),
    # Objects that cannot be made, or that contradict the set -------------------------------------
    Code(
        "FailedCreate",
        _BOTH,
        "An object of the set cannot be made: the API server refuses it, somebody else has its"
        " name, or pods are refused.",
        "Do what the message says.",
    ),
    Code(
        "FailedUpdate",
        _BOTH,
        "The API server refuses to change an object of the set.",
        "Do what the message says.",
    ),
    Code(
        "FailedDelete",
        _BOTH,
        "The API server refuses to delete an object of the set.",
        "Do what the message says.",
    ),
    Code(
        "StatefulSetNameTaken",
        _WAITS,
        "Another StatefulSet has the name of the leader StatefulSet, so no group can be made.",
        "Delete it, or give the set another name.",
    ),
    Code(
        "DeletionHeld",
        _BOTH,
        "A deletion is held up by finalizers of somebody else.",
        "See that whoever has put them there takes them off.",
    ),
    Code(
        "InvalidSpec",
        _WARNS,
        "The stored spec is not valid; the set is left alone.",
        "Correct the set.",
    ),
    Code(
        "InvalidPod",
        _WARNS,
        "A pod's labels or owners contradict its place in the set.",
        "Correct the label, or delete the pod.",
    ),
    Code(
        "InvalidStatefulSet",
        _WARNS,
        "A StatefulSet of the set was edited, or one that is not of the set has its label. What"
        " decides about pods is set back.",
        "Change the set instead.",
    ),
    Code(
        "InvalidService",
        _WARNS,
        "Pods of the set cannot be found by a Service of this name.",
        "Correct it, or delete it to have it made anew.",
    ),
    Code(
        "InvalidControllerRevision",
        _WARNS,
        "A ControllerRevision is broken, has another set's label, or has the key of another one.",
        "Delete the one that is wrong.",
    ),
    Code(
        "SubgroupsCutBySlices",
        _WARNS,
        "Slices of the topology request cut through subgroups.",
        "Give slices and subgroups sizes that fit.",
    ),
    Code(
        "ExclusiveTopologyMayConflict",
        _WARNS,
        "LWS's exclusive placement and Kueue's topology may contradict each other.",
        "Use one of the two.",
    ),
    Code(
        "HeldByKueue",
        _WARNS,
        "Kueue's other integrations have taken a pod or a StatefulSet of a set without a queue.",
        "Give the set a queue, or delete what was taken.",
    ),
    Code(
        "NoPodGroup",
        _WARNS,
        "A leader names no PodGroup of Volcano, so its group is no gang.",
        "Install the policy, and delete the pod.",
    ),
    Code(
        "RepairBackOff",
        _WARNS,
        "Somebody undoes a write, and it is repeated with longer pauses.",
        "Find who it is; the message says so where it can be known.",
    ),
    Code(
        "InternalError",
        _BOTH,
        "What to do cannot be decided, because of an error in the controller. What is not admitted"
        " is stopped.",
        "Report it, with the log.",
    ),
    # What was done -------------------------------------------------------------------------------
    Code("GroupsProgressing", _NORMAL, "Groups are made, or surge groups are removed."),
    Code("GroupsUpdating", _NORMAL, "A rolling update has gone on to more groups."),
    Code("AllGroupsReady", _NORMAL, "All groups are ready."),
    Code("CreatingRevision", _NORMAL, "A new version of the template was stored."),
    Code("RecreateGroup", _NORMAL, "A pod failed, and its group is recreated."),
    Code("CreatedWorkload", _NORMAL, "The Workload of a group was created."),
    Code("UpdatedWorkload", _NORMAL, "The Workload follows a change of the set."),
    Code(
        "RenewingWorkload",
        _NORMAL,
        "The Workload is replaced, because the group needs another admission, or because it was"
        " finished by mistake.",
    ),
    Code(
        "QuotaGivenBack",
        _NORMAL,
        "The Workload is deleted until the pods of its group can be made.",
    ),
    Code("GroupDispatched", _NORMAL, "A group was made in a worker cluster."),
    Code("RemoteObjectRestored", _NORMAL, "A group's set in a worker was set back to what it is."),
    Code("TopologyAssigned", _NORMAL, "Where the pods of a group went."),
    Code("NodeReplaced", _NORMAL, "Kueue has replaced a node; the pod is made anew there."),
    Code(
        "Stopped",
        ("Normal", "Warning"),
        "Pods are stopped, because no admission stands behind them. A Warning where somebody let"
        " them go that was not Kueue.",
    ),
)
