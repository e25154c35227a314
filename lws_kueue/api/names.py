"""Every group, label, annotation, gate, finalizer and manager name in one place.

The values are those of LeaderWorkerSet v0.10 (lws-contract 2) and of Kueue's Workload API
(kueue-contract 1 and 2), to the byte: clients and dashboards select by them.
"""

from typing import Final

# LeaderWorkerSet ---------------------------------------------------------------------------

LWS_GROUP: Final = "leaderworkerset.x-k8s.io"
LWS_VERSION: Final = "v1"
LWS_API_VERSION: Final = f"{LWS_GROUP}/{LWS_VERSION}"
LWS_KIND: Final = "LeaderWorkerSet"
LWS_PLURAL: Final = "leaderworkersets"

LWS_PREFIX: Final = "leaderworkerset.sigs.k8s.io/"

# Labels (lws-contract 2.1).
SET_NAME: Final = LWS_PREFIX + "name"
GROUP_INDEX: Final = LWS_PREFIX + "group-index"
GROUP_KEY: Final = LWS_PREFIX + "group-key"
WORKER_INDEX: Final = LWS_PREFIX + "worker-index"
SUBGROUP_INDEX: Final = LWS_PREFIX + "subgroup-index"
SUBGROUP_KEY: Final = LWS_PREFIX + "subgroup-key"
REVISION_KEY: Final = LWS_PREFIX + "template-revision-hash"

# Annotations (lws-contract 2.2).
SIZE: Final = LWS_PREFIX + "size"
REPLICAS: Final = LWS_PREFIX + "replicas"
LEADER_NAME: Final = LWS_PREFIX + "leader-name"
EXCLUSIVE_TOPOLOGY: Final = LWS_PREFIX + "exclusive-topology"
SUBGROUP_EXCLUSIVE_TOPOLOGY: Final = LWS_PREFIX + "subgroup-exclusive-topology"
SUBGROUP_SIZE: Final = LWS_PREFIX + "subgroup-size"
SUBGROUP_POLICY_TYPE: Final = LWS_PREFIX + "subgroup-policy-type"
SUBDOMAIN_POLICY: Final = LWS_PREFIX + "subdomainPolicy"
LEADER_REQUESTS_TPUS: Final = LWS_PREFIX + "leader-requests-tpus"
RECREATE_GROUP_AFTER_START: Final = LWS_PREFIX + "experimental-recreate-group-after-start"

# Every container of a pod is told the address of its leader (lws-contract 3.6).
LEADER_ADDRESS: Final = "LWS_LEADER_ADDRESS"

# Gang scheduling by Volcano (lws-contract 3.7).
VOLCANO_PREFIX: Final = "volcano.sh/"
VOLCANO_API_VERSION: Final = "scheduling.volcano.sh/v1beta1"
VOLCANO_QUEUE: Final = "scheduling.volcano.sh/queue-name"
POD_GROUP: Final = "scheduling.k8s.io/group-name"

# The field manager of the leader StatefulSet is upstream's, so that a take-over owns the
# same fields and a field that leaves the template leaves the object (lws-contract 3.1).
FIELD_MANAGER: Final = "lws"

# Kueue -------------------------------------------------------------------------------------

KUEUE_GROUP: Final = "kueue.x-k8s.io"
KUEUE_VERSION: Final = "v1beta2"
KUEUE_API_VERSION: Final = f"{KUEUE_GROUP}/{KUEUE_VERSION}"

KUEUE_PREFIX: Final = "kueue.x-k8s.io/"

ADMISSION_GATE: Final = KUEUE_PREFIX + "admission"
TOPOLOGY_GATE: Final = KUEUE_PREFIX + "topology"
WORKLOAD_FINALIZER: Final = KUEUE_PREFIX + "resource-in-use"

QUEUE_NAME: Final = KUEUE_PREFIX + "queue-name"
PRIORITY_CLASS: Final = KUEUE_PREFIX + "priority-class"
MAX_EXEC_TIME_SECONDS: Final = KUEUE_PREFIX + "max-exec-time-seconds"
ADMISSION_GATED_BY: Final = KUEUE_PREFIX + "admission-gated-by"
ELASTIC_JOB: Final = KUEUE_PREFIX + "elastic-job"

JOB_UID: Final = KUEUE_PREFIX + "job-uid"
IS_GROUP_WORKLOAD: Final = KUEUE_PREFIX + "is-group-workload"
JOB_OWNER_GVK: Final = KUEUE_PREFIX + "job-owner-gvk"
JOB_OWNER_NAME: Final = KUEUE_PREFIX + "job-owner-name"
COMPONENT_WORKLOAD_INDEX: Final = KUEUE_PREFIX + "component-workload-index"
MULTIKUEUE_ORIGIN: Final = KUEUE_PREFIX + "multikueue-origin"
MULTIKUEUE_ORIGIN_UID: Final = KUEUE_PREFIX + "multikueue-origin-uid"
MULTIKUEUE_CONTROLLER: Final = KUEUE_PREFIX + "multikueue"
# AdmissionChecks of this controller are ours: groups are dispatched one by one.
DISPATCH_CONTROLLER: Final = "lws-kueue.dev/multikueue"
MULTIKUEUE_WORKER_POD: Final = KUEUE_PREFIX + "multikueue-worker-workload-pod"
PROVISIONING_REQUEST_PREFIX: Final = "provreq.kueue.x-k8s.io/"

# Marks on released pods (kueue-contract 1.12).
WORKLOAD: Final = KUEUE_PREFIX + "workload"
PODSET: Final = KUEUE_PREFIX + "podset"
LOCAL_QUEUE_NAME: Final = KUEUE_PREFIX + "local-queue-name"
CLUSTER_QUEUE_NAME: Final = KUEUE_PREFIX + "cluster-queue-name"

# Topology annotations on pod templates (kueue-contract 1.9, 2.2).
PODSET_REQUIRED_TOPOLOGY: Final = KUEUE_PREFIX + "podset-required-topology"
PODSET_PREFERRED_TOPOLOGY: Final = KUEUE_PREFIX + "podset-preferred-topology"
PODSET_UNCONSTRAINED_TOPOLOGY: Final = KUEUE_PREFIX + "podset-unconstrained-topology"
PODSET_SLICE_REQUIRED_TOPOLOGY: Final = KUEUE_PREFIX + "podset-slice-required-topology"
PODSET_SLICE_SIZE: Final = KUEUE_PREFIX + "podset-slice-size"
PODSET_SLICE_CONSTRAINTS: Final = KUEUE_PREFIX + "podset-slice-required-topology-constraints"
PODSET_GROUP_NAME: Final = KUEUE_PREFIX + "podset-group-name"
POD_INDEX_OFFSET: Final = KUEUE_PREFIX + "pod-index-offset"

# A pod that carries this annotation with a value that is not Kueue's own is left alone by
# Kueue's pod and StatefulSet integrations (kueue-contract 3.6).
POD_SUSPENDING_PARENT: Final = KUEUE_PREFIX + "pod-suspending-parent"
KUEUE_LWS_FRAMEWORK: Final = "leaderworkerset.x-k8s.io/leaderworkerset"
KUEUE_STATEFULSET_FRAMEWORK: Final = "statefulset"
OUR_SUSPENDING_PARENT: Final = "lws-kueue.dev/leaderworkerset"

# Groups of one set in several clusters: what we write there, and what people say of it.
DISPATCH_FIELD_MANAGER: Final = "lws-kueue-dispatch"
ORIGIN_SET: Final = "lws-kueue.dev/origin-set"
ORIGIN_GROUP_INDEX: Final = "lws-kueue.dev/group-index"
MANAGER: Final = "lws-kueue.dev/manager"
ORIGIN_REVISION: Final = "lws-kueue.dev/revision"
ORIGIN_PRIORITY: Final = "lws-kueue.dev/priority"
PLACEMENT: Final = "lws-kueue.dev/placement"
SAME_CLUSTER_AS: Final = "lws-kueue.dev/same-cluster-as"
# Nobody but us takes it off: a leader on the manager does not start when Kueue lets it go.
DISPATCHED_GATE: Final = "lws-kueue.dev/dispatched"

# On everything that is installed: the version that it belongs to.
VERSION: Final = "lws-kueue.dev/version"

# On a ControllerRevision that is only kept to go back to: that it is, and when it was made first.
KEPT_REVISION: Final = "lws-kueue.dev/kept-revision"
REVISION_CREATED: Final = "lws-kueue.dev/revision-created"

# On a set whose update somebody has paused: the partition that it had before.
PAUSED: Final = "lws-kueue.dev/paused-at-partition"

# Keeps the name of a pod that was stopped taken for a while, so that none comes in its place.
STOPPED_FINALIZER: Final = "lws-kueue.dev/stopped"

# Marks that only Kueue's pod integration reads (kueue-contract 1.11); never ours to set.
MANAGED: Final = KUEUE_PREFIX + "managed"
POD_GROUP_NAME: Final = KUEUE_PREFIX + "pod-group-name"
POD_GROUP_SERVING: Final = KUEUE_PREFIX + "pod-group-serving"
POD_GROUP_TOTAL_COUNT: Final = KUEUE_PREFIX + "pod-group-total-count"
PREBUILT_WORKLOAD_NAME: Final = KUEUE_PREFIX + "prebuilt-workload-name"
ROLE_HASH: Final = KUEUE_PREFIX + "role-hash"

JOB_OWNER_GVK_VALUE: Final = "leaderworkerset.x-k8s.io/v1, Kind=LeaderWorkerSet"

# Kueue writes a Workload's admission status under this manager (kueue-contract 2.7).
ADMISSION_FIELD_MANAGER: Final = "kueue-admission"
PODS_READY_FIELD_MANAGER: Final = "kueue-job-controller-PodsReady"

# The conditions of AdmissionChecks and MultiKueueClusters that are ours.
CONNECTIONS_FIELD_MANAGER: Final = "lws-kueue-multikueue"
# Of a MultiKueueCluster: whether we reach it. `Active` there is Kueue's own.
CLUSTER_CONNECTED: Final = "LWSKueueConnected"

# Our own condition. It stands only while groups wait, so a set that runs has upstream's status.
WAITING: Final = "WaitingForAdmission"
