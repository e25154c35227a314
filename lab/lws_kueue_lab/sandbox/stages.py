"""What kwok plays: stages that stand in for the kubelet of every node.

kwok has no stages of its own. The ones here make nodes ready, run pods at once and let deleted
pods go at once. A pod may ask for other behaviour with two annotations, also while it runs:

`sandbox.lws-kueue.dev/behaviour`:
- `never-ready`: runs, but no container becomes ready;
- `ready-after`: becomes ready n seconds after it was scheduled;
- `restart`: its containers restart once, n seconds after it became ready (restartCount 1);
- `failed`: reaches phase Failed n seconds after it became ready;
- `slow-delete`: stays, running, for n seconds after its deletion was asked for.

`sandbox.lws-kueue.dev/seconds`: n, 0 if absent. The API keeps whole seconds, so a delay is n
rounded up to at most n + 1.

Delays are points in time, computed from the pod's own timestamps, and not durations: kwok starts
a duration anew whenever the pod changes.

A node with the annotation `sandbox.lws-kueue.dev/behaviour: not-ready` stops being ready.
"""

import textwrap
from typing import Any

_PREFIX = "sandbox.lws-kueue.dev/"
BEHAVIOUR = _PREFIX + "behaviour"
SECONDS = _PREFIX + "seconds"

NEVER_READY = "never-ready"
READY_AFTER = "ready-after"
RESTART = "restart"
FAILED = "failed"
SLOW_DELETE = "slow-delete"
NOT_READY = "not-ready"

Stage = dict[str, Any]

_BEHAVIOUR_PATH = f'.metadata.annotations["{BEHAVIOUR}"]'
_READY_PATH = '.status.conditions.[] | select(.type == "Ready") | .status'
_SECONDS_EXPRESSION = f'((.metadata.annotations["{SECONDS}"] // "0") | tonumber)'
# The API cuts fractions of a second off, so a whole second more keeps "at least n seconds" true;
# n = 0 means at once.
_EXTRA_EXPRESSION = f"(if {_SECONDS_EXPRESSION} > 0 then {_SECONDS_EXPRESSION} + 1 else 0 end)"
# deletionTimestamp is when the grace period ends, not when the deletion was asked for.
_ASKED = "(.metadata.deletionTimestamp | fromdate) - (.metadata.deletionGracePeriodSeconds // 0)"
_SLOWLY = f"({_ASKED}) + {_EXTRA_EXPRESSION} | todate"


def all_stages() -> list[Stage]:
    """Every stage of the sandbox; at any time at most one of them matches an object."""
    return [
        _node_ready(),
        _node_not_ready(),
        _pod_start_ready(),
        _pod_start_unready(),
        _pod_become_ready(),
        _pod_become_ready_later(),
        _pod_become_unready(),
        _pod_restart(),
        _pod_fail(),
        _pod_delete("pod-delete", slowly=False),
        _pod_delete("pod-delete-later", slowly=True),
        _pod_kept("pod-kept", slowly=False),
        _pod_kept("pod-kept-later", slowly=True),
    ]


# Nodes ----------------------------------------------------------------------------------------


def _node_ready() -> Stage:
    return _stage(
        "node-ready",
        kind="Node",
        when=[
            _match(_READY_PATH, "NotIn", "True"),
            _match(_BEHAVIOUR_PATH, "NotIn", NOT_READY),
        ],
        status=_NODE_STATUS.replace("READY", "True"),
    )


def _node_not_ready() -> Stage:
    return _stage(
        "node-not-ready",
        kind="Node",
        when=[_match(_READY_PATH, "In", "True"), _match(_BEHAVIOUR_PATH, "In", NOT_READY)],
        status=_NODE_STATUS.replace("READY", "False"),
    )


_NODE_STATUS = """
{{ $now := Now }}
conditions:
- type: Ready
  status: "READY"
  reason: Sandbox
  message: the sandbox says so
  lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ $now | Quote }}
{{ range $type := list "MemoryPressure" "DiskPressure" "PIDPressure" "NetworkUnavailable" }}
- type: {{ $type }}
  status: "False"
  reason: Sandbox
  message: the sandbox says so
  lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ $now | Quote }}
{{ end }}
addresses:
- type: Hostname
  address: {{ .metadata.name | Quote }}
nodeInfo:
  architecture: amd64
  operatingSystem: linux
  kubeletVersion: kwok
  kubeProxyVersion: ""
  containerRuntimeVersion: kwok
  kernelVersion: kwok
  osImage: kwok
  bootID: ""
  machineID: ""
  systemUUID: ""
phase: Running
"""


# Pods -----------------------------------------------------------------------------------------


def _pod_start_ready() -> Stage:
    return _stage(
        "pod-start-ready",
        kind="Pod",
        when=[*_living("Pending"), _match(_BEHAVIOUR_PATH, "NotIn", NEVER_READY, READY_AFTER)],
        status=_STARTED + _conditions(ready=True) + _containers(ready=True),
    )


def _pod_start_unready() -> Stage:
    return _stage(
        "pod-start-unready",
        kind="Pod",
        when=[*_living("Pending"), _match(_BEHAVIOUR_PATH, "In", NEVER_READY, READY_AFTER)],
        status=_STARTED + _conditions(ready=False) + _containers(ready=False),
    )


def _pod_become_ready() -> Stage:
    return _stage(
        "pod-become-ready",
        kind="Pod",
        when=[
            *_living("Running"),
            _match(_READY_PATH, "NotIn", "True"),
            _match(_BEHAVIOUR_PATH, "NotIn", NEVER_READY, READY_AFTER),
        ],
        status=_conditions(ready=True) + _containers(ready=True),
    )


def _pod_become_ready_later() -> Stage:
    return _stage(
        "pod-become-ready-later",
        kind="Pod",
        when=[
            *_living("Running"),
            _match(_READY_PATH, "NotIn", "True"),
            _match(_BEHAVIOUR_PATH, "In", READY_AFTER),
        ],
        at=_after_condition("PodScheduled"),
        status=_conditions(ready=True) + _containers(ready=True),
    )


def _pod_become_unready() -> Stage:
    return _stage(
        "pod-become-unready",
        kind="Pod",
        when=[
            *_living("Running"),
            _match(_READY_PATH, "In", "True"),
            _match(_BEHAVIOUR_PATH, "In", NEVER_READY),
        ],
        status=_conditions(ready=False) + _containers(ready=False),
    )


def _pod_restart() -> Stage:
    return _stage(
        "pod-restart",
        kind="Pod",
        when=[
            *_living("Running"),
            _match(_BEHAVIOUR_PATH, "In", RESTART),
            _match("[.status.containerStatuses[].restartCount] | max == 0", "In", "true"),
        ],
        at=_after_condition("Ready"),
        status=_containers(ready=True, restarted=True),
    )


def _pod_fail() -> Stage:
    return _stage(
        "pod-fail",
        kind="Pod",
        when=[*_living("Running"), _match(_BEHAVIOUR_PATH, "In", FAILED)],
        at=_after_condition("Ready"),
        status="phase: Failed\n" + _conditions(ready=False) + _TERMINATED.replace("CODE", "1"),
    )


def _pod_delete(name: str, *, slowly: bool) -> Stage:
    """End the containers, then let the pod go, as a kubelet does.

    The status matters where a finalizer keeps the pod: it must be seen to be over. kwok deletes by
    name alone, and the API server shows the pod once more, with its grace period ended, before it
    is gone. Only the first look asks for the deletion: a second one may meet a new pod of the name.
    """
    stage = _stage(
        name,
        kind="Pod",
        when=_deleted(grace_ended=False, slowly=slowly),
        at=_SLOWLY if slowly else None,
        status=_ONLY_IF_KEPT.replace("OVER", _over()),
    )
    stage["spec"]["steps"].append({"delete": True})
    return stage


def _pod_kept(name: str, *, slowly: bool) -> Stage:
    """End the containers of a pod without a grace period, which goes with its last finalizer.

    Without a finalizer this is the last look at a pod that is gone already.
    """
    return _stage(
        name,
        kind="Pod",
        when=[
            *_deleted(grace_ended=True, slowly=slowly),
            _match("(.metadata.finalizers // []) | length > 0", "In", "true"),
            _match(".status.phase", "In", "Running"),
        ],
        at=_SLOWLY if slowly else None,
        status=_over(),
    )


def _deleted(*, grace_ended: bool, slowly: bool) -> list[Stage]:
    ended = "(.metadata.deletionGracePeriodSeconds // 0) == 0"
    return [
        _match(".metadata.deletionTimestamp", "Exists"),
        _match(ended, "In", str(grace_ended).lower()),
        _match(_BEHAVIOUR_PATH, "In" if slowly else "NotIn", SLOW_DELETE),
    ]


def _living(phase: str) -> list[Stage]:
    return [
        _match(".metadata.deletionTimestamp", "DoesNotExist"),
        _match(".status.phase", "In", phase),
    ]


def _after_condition(condition: str) -> str:
    since = f'.status.conditions[] | select(.type == "{condition}") | .lastTransitionTime'
    return f"({since} | fromdate) + {_EXTRA_EXPRESSION} | todate"


# Templates of pod status ----------------------------------------------------------------------

_STARTED = """
{{ $now := Now }}
phase: Running
startTime: {{ $now | Quote }}
hostIP: 127.0.0.1
{{ $ips := PodIPsWith .spec.nodeName ( or .spec.hostNetwork false ) ( or .metadata.uid "" )
   ( or .metadata.name "" ) ( or .metadata.namespace "" ) }}
{{ with $ips }}
podIP: {{ index . 0 | Quote }}
podIPs:
{{ range . }}
- ip: {{ . | Quote }}
{{ end }}
{{ end }}
initContainerStatuses:
{{ range .spec.initContainers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: true
  restartCount: 0
  {{ if eq ( or .restartPolicy "" ) "Always" }}
  started: true
  state:
    running:
      startedAt: {{ $now | Quote }}
  {{ else }}
  state:
    terminated:
      exitCode: 0
      reason: Completed
      startedAt: {{ $now | Quote }}
      finishedAt: {{ $now | Quote }}
  {{ end }}
{{ end }}
"""

_CONDITIONS = """
{{ $now := Now }}
conditions:
- type: PodReadyToStartContainers
  status: "True"
  lastTransitionTime: {{ $now | Quote }}
- type: Initialized
  status: "True"
  lastTransitionTime: {{ $now | Quote }}
- type: ContainersReady
  status: "READY"
  lastTransitionTime: {{ $now | Quote }}
- type: Ready
  status: "READY"
  lastTransitionTime: {{ $now | Quote }}
"""

_RUNNING = """
{{ $now := Now }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: READY
  started: true
  restartCount: RESTARTS
  state:
    running:
      startedAt: {{ $now | Quote }}
  LAST
{{ end }}
"""

_LAST_STATE = """lastState:
    terminated:
      exitCode: 1
      reason: Error
      startedAt: {{ $now | Quote }}
      finishedAt: {{ $now | Quote }}"""

_TERMINATED = """
{{ $now := Now }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: false
  started: false
  restartCount: 0
  state:
    terminated:
      exitCode: CODE
      reason: Sandbox
      startedAt: {{ $now | Quote }}
      finishedAt: {{ $now | Quote }}
{{ end }}
"""

# A template that says what is so already costs no request.
_ONLY_IF_KEPT = """
{{ if and .metadata.finalizers ( eq .status.phase "Running" ) }}
OVER
{{ else }}
phase: {{ .status.phase }}
{{ end }}
"""


def _over() -> str:
    return "phase: Succeeded\n" + _conditions(ready=False) + _TERMINATED.replace("CODE", "0")


def _conditions(*, ready: bool) -> str:
    return _CONDITIONS.replace("READY", str(ready))


def _containers(*, ready: bool, restarted: bool = False) -> str:
    return (
        _RUNNING.replace("READY", str(ready).lower())
        .replace("RESTARTS", "1" if restarted else "0")
        .replace("LAST", _LAST_STATE if restarted else "lastState: {}")
    )


# Building stages ------------------------------------------------------------------------------


# kwok patches by name alone, and since it looked a new pod may have come under that name. A kubelet
# knows its pods by their UIDs: with it, the API server refuses to give one's status to another.
_OF_THIS_ONE = "metadata:\n  uid: {{ .metadata.uid | Quote }}\nstatus:\n"


def _stage(name: str, *, kind: str, when: list[Stage], status: str, at: str | None = None) -> Stage:
    template = _OF_THIS_ONE + textwrap.indent(status, "  ")
    spec: Stage = {
        "resourceRef": {"apiGroup": "v1", "kind": kind},
        "selector": {"matchExpressions": when},
        "steps": [{"patch": {"subresource": "status", "template": template}}],
    }
    if at is not None:
        spec["delay"] = {"durationMilliseconds": 0, "durationFrom": {"jq": {"expression": at}}}
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": spec,
    }


def _match(key: str, operator: str, *values: str) -> Stage:
    expression: Stage = {"key": key, "operator": operator}
    if values:
        expression["values"] = list(values)
    return {"jq": expression}
