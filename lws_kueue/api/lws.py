"""pydantic model of the LeaderWorkerSet API, v1 (lws-contract 1.1 and 1.4).

Pod templates and claims stay JSON: their content belongs to the API server, and revision keys are
computed from the stored form. Unknown fields are kept, so that a newer stored object still parses.
Defaults are those of the CRD and of the defaulting policy, so that an object that was stored
without them (or written past the policies) means the same here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from lws_kueue.api import derived, facts, names

RestartPolicy = Literal["RecreateGroupOnPodRestart", "RecreateGroupAfterStart", "None", "Default"]
IntOrPercent = int | str

# lws-contract 1.1
MOST_REPLICAS = 1_000_000
MOST_PODS = 2**31 - 1


class _Model(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="allow"
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        """Give a field that is null its default, as the API server does before it stores."""
        if not isinstance(value, Mapping):
            return value
        return {key: field for key, field in value.items() if field is not None}


class SubGroupPolicy(_Model):
    """How a group is divided into subgroups."""

    sub_group_policy_type: Literal["LeaderWorker", "LeaderExcluded"] = Field(
        default="LeaderWorker", alias="subGroupPolicyType"
    )
    sub_group_size: int | None = Field(default=None, ge=1, alias="subGroupSize")


class LeaderWorkerTemplate(_Model):
    """What a group consists of; its whole content is the revision (with the network config)."""

    leader_template: dict[str, Any] | None = None
    worker_template: dict[str, Any]
    size: int = Field(default=1, ge=1)
    restart_policy: RestartPolicy = "RecreateGroupOnPodRestart"
    sub_group_policy: SubGroupPolicy | None = Field(default=None, alias="subGroupPolicy")
    volume_claim_templates: tuple[dict[str, Any], ...] = ()
    persistent_volume_claim_retention_policy: dict[str, str] | None = None


class RollingUpdateConfiguration(_Model):
    """Bounds of a rolling update; numbers of groups, or percentages of ``replicas``."""

    partition: int = 0
    max_unavailable: IntOrPercent = 1
    max_surge: IntOrPercent = 0


class RolloutStrategy(_Model):
    """How groups move to a new template."""

    type: Literal["RollingUpdate"] = "RollingUpdate"
    rolling_update_configuration: RollingUpdateConfiguration = RollingUpdateConfiguration()


class NetworkConfig(_Model):
    """Whether groups share one headless Service or have one each."""

    subdomain_policy: Literal["Shared", "UniquePerReplica"] = "Shared"


class Spec(_Model):
    """The desired state of a set.

    What would only give writes that the API server refuses, or more pods than anybody can count,
    is no spec: it can be stored while the definition or the policies are away.
    """

    replicas: int = Field(default=1, ge=0, le=MOST_REPLICAS)
    leader_worker_template: LeaderWorkerTemplate
    rollout_strategy: RolloutStrategy = RolloutStrategy()
    startup_policy: Literal["LeaderCreated", "LeaderReady"] = "LeaderCreated"
    network_config: NetworkConfig = NetworkConfig()

    @model_validator(mode="after")
    def _countable(self) -> "Spec":
        if self.replicas * self.leader_worker_template.size > MOST_PODS:
            raise ValueError(f"replicas times size must not be more than {MOST_PODS}")
        return self


class Condition(_Model):
    """One entry of ``status.conditions``."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""
    observed_generation: int | None = None


class Status(_Model):
    """The observed state of a set (lws-contract 1.4)."""

    conditions: tuple[Condition, ...] = ()
    ready_replicas: int = 0
    updated_replicas: int = 0
    replicas: int = 0
    hpa_pod_selector: str = ""
    observed_generation: int = 0


class LeaderWorkerSet(_Model):
    """A LeaderWorkerSet as it is stored, with its metadata as facts.

    ``stored_spec`` is the JSON the API server stores, the base of revision keys.
    """

    meta: facts.Meta
    spec: Spec
    status: Status = Status()
    stored_spec: Mapping[str, Any]

    @classmethod
    def of(cls, obj: facts.Object) -> "LeaderWorkerSet":
        """Parse a stored object.

        Raises:
            pydantic.ValidationError: the spec was written past the API's rules; the error names
                the field.
        """
        return cls(
            meta=facts.Meta.of(obj),
            spec=Spec.model_validate(obj.get("spec") or {}),
            status=_status(obj.get("status") or {}),
            stored_spec=obj.get("spec") or {},
        )

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other fields, which keeps nothing of what followed from these."""
        return derived.nothing_yet(super().model_copy(update=update, deep=deep))

    @property
    def asked(self) -> "LeaderWorkerSet":
        """The set without its status, and without the version that each write of that makes."""
        return _asked(self)

    @property
    def queue_name(self) -> str:
        """The LocalQueue the set is submitted to, "" for a set that Kueue does not manage."""
        return self.meta.labels.get(names.QUEUE_NAME, "")


@derived.once
def _asked(owner: LeaderWorkerSet) -> LeaderWorkerSet:
    meta = replace(owner.meta, resource_version="")
    return owner.model_copy(update={"meta": meta, "status": Status()})


def _status(stored: Mapping[str, Any]) -> Status:
    """Return a stored status; one that cannot be read is written anew, as if there were none."""
    try:
        return Status.model_validate(stored)
    except ValidationError:
        return Status()


@dataclass(frozen=True, slots=True)
class InvalidSet:
    """A set whose stored spec breaks the API's rules (it was written past them)."""

    meta: facts.Meta
    problem: str
