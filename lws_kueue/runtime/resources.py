"""The kinds that the controller reads or writes, and where the API server serves them."""

from dataclasses import dataclass
from typing import Final

from lws_kueue.api import names


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of the API."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """The API group, "" for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The API version without the group."""
        return self.api_version.rpartition("/")[2]

    def path(self, *, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the URL path of the collection, of one object, or of its subresource."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}{scope}/{self.plural}{tail}"


SETS: Final = Resource(names.LWS_API_VERSION, names.LWS_KIND, names.LWS_PLURAL)
STATEFUL_SETS: Final = Resource("apps/v1", "StatefulSet", "statefulsets")
REVISIONS: Final = Resource("apps/v1", "ControllerRevision", "controllerrevisions")
PODS: Final = Resource("v1", "Pod", "pods")
SERVICES: Final = Resource("v1", "Service", "services")
EVENTS: Final = Resource("events.k8s.io/v1", "Event", "events")
NODES: Final = Resource("v1", "Node", "nodes", namespaced=False)
NAMESPACES: Final = Resource("v1", "Namespace", "namespaces", namespaced=False)
PRIORITY_CLASSES: Final = Resource(
    "scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", namespaced=False
)
# What a cluster adds to the requests of pods.
LIMIT_RANGES: Final = Resource("v1", "LimitRange", "limitranges")
RUNTIME_CLASSES: Final = Resource(
    "node.k8s.io/v1", "RuntimeClass", "runtimeclasses", namespaced=False
)
CRDS: Final = Resource(
    "apiextensions.k8s.io/v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    namespaced=False,
)

WORKLOADS: Final = Resource(names.KUEUE_API_VERSION, "Workload", "workloads")
LOCAL_QUEUES: Final = Resource(names.KUEUE_API_VERSION, "LocalQueue", "localqueues")
CLUSTER_QUEUES: Final = Resource(
    names.KUEUE_API_VERSION, "ClusterQueue", "clusterqueues", namespaced=False
)
FLAVORS: Final = Resource(
    names.KUEUE_API_VERSION, "ResourceFlavor", "resourceflavors", namespaced=False
)
WORKLOAD_PRIORITY_CLASSES: Final = Resource(
    names.KUEUE_API_VERSION, "WorkloadPriorityClass", "workloadpriorityclasses", namespaced=False
)
ADMISSION_CHECKS: Final = Resource(
    names.KUEUE_API_VERSION, "AdmissionCheck", "admissionchecks", namespaced=False
)

# Which clusters groups can be dispatched to, watched only where that is switched on.
MULTIKUEUE_CONFIGS: Final = Resource(
    names.KUEUE_API_VERSION, "MultiKueueConfig", "multikueueconfigs", namespaced=False
)
MULTIKUEUE_CLUSTERS: Final = Resource(
    names.KUEUE_API_VERSION, "MultiKueueCluster", "multikueueclusters", namespaced=False
)
# In worker clusters, what owns our Workloads.
LEASES: Final = Resource("coordination.k8s.io/v1", "Lease", "leases")
SECRETS: Final = Resource("v1", "Secret", "secrets")

# Volcano's, watched only where Volcano schedules groups.
POD_GROUPS: Final = Resource(names.VOLCANO_API_VERSION, "PodGroup", "podgroups")

CLUSTER_ROLES: Final = Resource(
    "rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", namespaced=False
)

_POLICY_API: Final = "admissionregistration.k8s.io/v1"

# What an installation consists of.
INSTALLED: Final = (
    CRDS,
    CLUSTER_ROLES,
    *(
        Resource(_POLICY_API, kind, f"{kind.lower()[:-1]}ies", namespaced=False)
        for kind in ("MutatingAdmissionPolicy", "ValidatingAdmissionPolicy")
    ),
    *(
        Resource(_POLICY_API, kind, f"{kind.lower()}s", namespaced=False)
        for kind in ("MutatingAdmissionPolicyBinding", "ValidatingAdmissionPolicyBinding")
    ),
)

# What is watched always, and what is watched where Kueue serves it.
PLAIN: Final = (
    SETS,
    STATEFUL_SETS,
    REVISIONS,
    PODS,
    SERVICES,
    PRIORITY_CLASSES,
    LIMIT_RANGES,
    RUNTIME_CLASSES,
)
KUEUE: Final = (
    WORKLOADS,
    LOCAL_QUEUES,
    CLUSTER_QUEUES,
    FLAVORS,
    WORKLOAD_PRIORITY_CLASSES,
    ADMISSION_CHECKS,
)

# Children of a set carry its name label; watching only those keeps other pods out of memory.
BY_SET_NAME: Final = (STATEFUL_SETS, REVISIONS, PODS, SERVICES, POD_GROUPS)

# What comes in thousands: these are watched by ourselves, all others by kopf.
MANY: Final = (*BY_SET_NAME, WORKLOADS)

_BY_KIND: Final = {
    (resource.api_version, resource.kind): resource
    for resource in (*PLAIN, *KUEUE, MULTIKUEUE_CLUSTERS, LEASES, POD_GROUPS, EVENTS, *INSTALLED)
}


def label_selector(resource: Resource) -> str:
    """Return by which labels the objects of a kind are chosen that concern us, "" for all."""
    return names.SET_NAME if resource in BY_SET_NAME else ""


def of(api_version: str, kind: str) -> Resource:
    """Return the resource of a kind; KeyError for a kind the controller has no business with."""
    return _BY_KIND[api_version, kind]
