"""What Kueue's webhook refuses on Workloads, as a ValidatingAdmissionPolicy (kueue-contract 2.5).

A policy and not rules of the CRD, because a policy sees pod templates whole, and because one
part of the contract matters more than all others: nobody gets away with giving up an admission
in two steps, or with changing pod sets that quota is reserved for.
"""

from typing import Any, Final

from lws_kueue.api import names
from lws_kueue_lab.kueue_standin import schemas

Json = dict[str, Any]

NAME: Final = "workloads.stand-in.lws-kueue.dev"


def _has(condition: str, obj: str) -> str:
    return (
        f"({obj} != null && has({obj}.status) && has({obj}.status.conditions) &&"
        f" {obj}.status.conditions.exists(c, c.type == '{condition}' && c.status == 'True'))"
    )


# Both states of the object, named so that the rules read as sentences.
_VARIABLES: Final = {
    "reserved": _has("QuotaReserved", "object"),
    "wasReserved": _has("QuotaReserved", "oldObject"),
    "admitted": _has("Admitted", "object"),
    "wasAdmitted": _has("Admitted", "oldObject"),
    "admission": "has(object.status) && has(object.status.admission)"
    " ? dyn(object.status.admission) : dyn(null)",
    "oldAdmission": "oldObject != null && has(oldObject.status) &&"
    " has(oldObject.status.admission) ? dyn(oldObject.status.admission) : dyn(null)",
    "assignments": "variables.admission != null && has(variables.admission.podSetAssignments)"
    " ? dyn(variables.admission.podSetAssignments) : dyn([])",
    "oldAssignments": "variables.oldAdmission != null &&"
    " has(variables.oldAdmission.podSetAssignments)"
    " ? dyn(variables.oldAdmission.podSetAssignments) : dyn([])",
}

_RULES: Final = (
    (
        "!variables.wasReserved || object.spec.podSets == oldObject.spec.podSets",
        "spec.podSets: field is immutable while quota is reserved",
    ),
    (
        "!variables.wasReserved || !variables.reserved ||"
        " object.spec.?queueName == oldObject.spec.?queueName",
        "queueName is immutable while workload quota reserved",
    ),
    (
        "!variables.wasReserved ||"
        " has(object.spec.priorityClassRef) == has(oldObject.spec.priorityClassRef)",
        "priorityClassRef is immutable while workload quota reserved",
    ),
    (
        "!variables.wasReserved || !has(object.spec.priorityClassRef) ||"
        " !has(oldObject.spec.priorityClassRef) ||"
        " (object.spec.priorityClassRef.kind == oldObject.spec.priorityClassRef.kind &&"
        " (object.spec.priorityClassRef.kind != 'PriorityClass' ||"
        " object.spec.priorityClassRef.name == oldObject.spec.priorityClassRef.name))",
        "priorityClassRef may only change to another WorkloadPriorityClass while quota is reserved",
    ),
    (
        "!variables.wasAdmitted || !variables.admitted ||"
        " object.spec.?maximumExecutionTimeSeconds == oldObject.spec.?maximumExecutionTimeSeconds",
        "maximumExecutionTimeSeconds is immutable while workload quota reserved",
    ),
    (
        "!variables.reserved || variables.admission != null",
        "status.admission: must be set while the QuotaReserved condition is true",
    ),
    (
        "!variables.reserved || (variables.assignments.size() == object.spec.podSets.size() &&"
        " variables.assignments.all(a, object.spec.podSets.exists(p, p.name == a.name)))",
        "status.admission.podSetAssignments must name the pod sets of the spec",
    ),
    (
        "variables.admission == null || variables.oldAdmission == null ||"
        " (variables.admission.?clusterQueue == variables.oldAdmission.?clusterQueue &&"
        " variables.assignments.size() == variables.oldAssignments.size() &&"
        " variables.assignments.all(a, variables.oldAssignments.exists(b, a.name == b.name &&"
        " a.?count == b.?count && a.?flavors == b.?flavors &&"
        " a.?resourceUsage == b.?resourceUsage)))",
        "status.admission: field is immutable but for topology assignments",
    ),
)


def policies() -> list[Json]:
    """Return the policy and its binding."""
    metadata = {"name": NAME, "annotations": {schemas.ANNOTATION: "true"}}
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": metadata,
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [names.KUEUE_GROUP],
                        "apiVersions": [names.KUEUE_VERSION],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": ["workloads", "workloads/status"],
                    }
                ]
            },
            "variables": [{"name": n, "expression": e} for n, e in _VARIABLES.items()],
            "validations": [
                {"expression": rule, "message": message, "reason": "Invalid"}
                for rule, message in _RULES
            ],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": metadata,
        "spec": {"policyName": NAME, "validationActions": ["Deny"]},
    }
    return [policy, binding]
