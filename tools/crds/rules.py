"""The CEL rules of the CRD: what a schema alone cannot say about a LeaderWorkerSet.

They are the cross-field rules of lws-contract 1.3. Each is attached to the smallest object that
holds everything it reads, because the API server skips a rule while the value it is attached to
does not change: a stored object that breaks a rule can still get a status, lose a finalizer and
be deleted. `fieldPath` then names the field that the user has to look at.
"""

from typing import Any, Final

Rule = dict[str, Any]

# The value of an integer-or-percent field is checked where it stands, so the path is right by
# itself. A string without the percent sign is refused even if it holds a number, as upstream does.
INT_OR_PERCENT: Final[list[Rule]] = [
    {
        "rule": "type(self) == int ? self >= 0 : string(self).matches('^[0-9]+%$')",
        "message": "must be an integer of at least 0, or a percentage such as 25%",
    },
    {
        # Judged apart from the form, so that each message says one thing. Leading zeros are as
        # harmless here as they are upstream.
        "rule": (
            "type(self) == int || !string(self).matches('^[0-9]+%$') "
            "|| string(self).matches('^0*(100|[0-9]{1,2})%$')"
        ),
        "message": "must not be more than 100%",
    },
]

_ROLLING: Final = "self.rolloutStrategy.rollingUpdateConfiguration"


def _rounds_down_to_none(field: str) -> str:
    """Return CEL that tells whether rounding `field` of `self.replicas` down gives nothing."""
    return (
        f"(type({field}) == int ? int({field}) == 0 : "
        f"string({field}).matches('^[0-9]{{1,9}}%$') && "
        f"int(string({field}).replace('%', '')) * self.replicas < 100)"
    )


def _rounds_up_to_none(field: str) -> str:
    """Return CEL that tells whether rounding `field` up gives nothing, given replicas > 0."""
    return f"(type({field}) == int ? int({field}) == 0 : string({field}).matches('^0+%$'))"


# A rollout that may neither take a group away nor add one never moves. maxUnavailable is rounded
# down and maxSurge up, so 25% of two groups is none (VAL-36).
NO_PROGRESS: Final = (
    f"self.replicas != 0 && {_rounds_down_to_none(_ROLLING + '.maxUnavailable')}"
    f" && {_rounds_up_to_none(_ROLLING + '.maxSurge')}"
)

SPEC: Final[list[Rule]] = [
    {
        "rule": "self.replicas * self.leaderWorkerTemplate.size <= 2147483647",
        "fieldPath": ".replicas",
        "message": "the product of replicas and leaderWorkerTemplate.size must not be more than "
        "2147483647",
    },
    {
        # Only a change of the strategy, or a new object, is judged here. When replicas alone
        # change, the write may come from an autoscaler through the scale subresource, which has
        # always been let through (lws-contract 1.3); a definition cannot tell the subresource, so
        # the policy lws-kueue-rules judges the other writes that change replicas.
        "rule": (
            "(oldSelf.hasValue() && oldSelf.value().rolloutStrategy == self.rolloutStrategy) || "
            f"!({NO_PROGRESS})"
        ),
        "optionalOldSelf": True,
        "fieldPath": ".rolloutStrategy.rollingUpdateConfiguration.maxUnavailable",
        "message": "must not be 0 when maxSurge is 0: maxUnavailable is a share of replicas "
        "rounded down, and the rollout could never replace a group",
    },
]

_SUBGROUP_SIZE: Final = ".subGroupPolicy.subGroupSize"
_SGS: Final = "self.subGroupPolicy.subGroupSize"

LEADER_WORKER_TEMPLATE: Final[list[Rule]] = [
    {
        "rule": f"!has(self.subGroupPolicy) || self.size >= {_SGS}",
        "fieldPath": _SUBGROUP_SIZE,
        "message": "must not be more than size",
    },
    {
        # The guard against zero is for the evaluation only, the minimum of the field refuses it.
        "rule": (
            f"!has(self.subGroupPolicy) || {_SGS} <= 0 || "
            f"self.size % {_SGS} == 0 || (self.size - 1) % {_SGS} == 0"
        ),
        "fieldPath": _SUBGROUP_SIZE,
        "message": "size, or size - 1, must be divisible by subGroupSize",
    },
    {
        # Without its leader a group has size - 1 pods to split.
        "rule": (
            f"!has(self.subGroupPolicy) || {_SGS} <= 0 || "
            "self.subGroupPolicy.subGroupPolicyType != 'LeaderExcluded' || "
            f"(self.size - 1) % {_SGS} == 0"
        ),
        "fieldPath": _SUBGROUP_SIZE,
        "message": "size - 1 must be divisible by subGroupSize when subGroupPolicyType is "
        "LeaderExcluded",
    },
    {
        "rule": "has(self.subGroupPolicy) || !has(oldSelf.subGroupPolicy)",
        "fieldPath": ".subGroupPolicy",
        "reason": "FieldValueForbidden",
        "message": "cannot be removed once the set exists",
    },
    {
        "rule": "!has(self.subGroupPolicy) || has(oldSelf.subGroupPolicy)",
        "fieldPath": ".subGroupPolicy",
        "reason": "FieldValueForbidden",
        "message": "cannot be added to a set that exists",
    },
    {
        "rule": (
            "!has(self.subGroupPolicy) || !has(oldSelf.subGroupPolicy) || "
            f"{_SGS} == oldSelf.subGroupPolicy.subGroupSize"
        ),
        "fieldPath": _SUBGROUP_SIZE,
        "message": "field is immutable",
    },
]

_SURGE: Final = "self.spec.rolloutStrategy.rollingUpdateConfiguration.maxSurge"

# The groups that a rollout adds have indices above replicas. A percentage is at most 100% and is
# rounded up, an integer is capped at replicas.
_SURGE_GROUPS: Final = (
    f"(type({_SURGE}) == int ? int({_SURGE}) : "
    f"string({_SURGE}).matches('^[0-9]{{1,3}}%$') ? "
    f"(int(string({_SURGE}).replace('%', '')) * self.spec.replicas + 99) / 100 : 0)"
)
_LAST_INDEX: Final = (
    f"[0, self.spec.replicas - 1 + [self.spec.replicas, {_SURGE_GROUPS}].min()].max()"
)

# The StatefulSet controller labels a pod with `<statefulset>-<hash>`, the hash has up to 10
# characters and a label value up to 63. The StatefulSet of a group's workers is called
# `<name>-<group index>`; with a longer name no worker pod could ever be created.
NAME_FITS: Final = (
    "(self.spec.leaderWorkerTemplate.size == 1 ? "
    "size(self.metadata.name) <= 52 : "
    f"size(self.metadata.name) + size(string({_LAST_INDEX})) <= 51)"
)

OBJECT: Final[list[Rule]] = [
    {
        # A name cannot change, so only a new object is judged: one that was stored before this
        # rule existed must not become impossible to write.
        "rule": "oldSelf.hasValue() || (size(self.metadata.name) <= 63 && "
        "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$'))",
        "optionalOldSelf": True,
        "fieldPath": ".metadata.name",
        "message": "must be a DNS-1035 label because a Service gets this name: lower case letters, "
        "digits and '-', first a letter, last a letter or digit, at most 63 characters",
    },
    {
        "rule": f"oldSelf.hasValue() || {NAME_FITS}",
        "optionalOldSelf": True,
        "fieldPath": ".metadata.name",
        "message": "is too long: the pods' label controller-revision-hash, "
        "<name>-<group index>-<hash>, would have more than 63 characters. With leaderWorkerTemplate"
        ".size 1 a name has at most 52 characters, otherwise name and the highest group index of a "
        "rollout (replicas + maxSurge - 1) have at most 51 together",
    },
    {
        # The same when a set grows. Only the fields that lead to a higher index count, so that a
        # set which is already too long can still be scaled down, changed and deleted.
        "rule": (
            "!oldSelf.hasValue() || ("
            "self.spec.replicas <= oldSelf.value().spec.replicas && "
            "(self.spec.leaderWorkerTemplate.size == 1 || "
            "oldSelf.value().spec.leaderWorkerTemplate.size != 1) && "
            "self.spec.rolloutStrategy == oldSelf.value().spec.rolloutStrategy) || "
            f"{NAME_FITS}"
        ),
        "optionalOldSelf": True,
        "fieldPath": ".spec.replicas",
        "message": "is too high for a name of this length: the label controller-revision-hash of "
        "the worker pods, <name>-<group index>-<hash>, would have more than 63 characters in the "
        "last group. The name and the highest group index of a rollout (replicas + maxSurge - 1) "
        "have at most 51 characters together",
    },
]
