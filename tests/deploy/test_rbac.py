"""The controller's ClusterRole allows what the code does, and nothing that it does not do."""

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

import lws_kueue
from lws_kueue.dispatch import eligibility
from lws_kueue.install import in_force, preflight
from lws_kueue.kubectl import look, reading
from lws_kueue.manager.leader import election
from lws_kueue.manager.serve import authorization, metrics_server
from lws_kueue.manager.settings import configuration
from lws_kueue.runtime import resources

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(lws_kueue.__file__).parent

Right = tuple[str, str, str]
"""API group, resource with subresource, verb."""


def rights_of(resource: resources.Resource, *verbs: str, sub: str = "") -> set[Right]:
    plural = f"{resource.plural}/{sub}" if sub else resource.plural
    return {(resource.group, plural, verb) for verb in verbs}


CREATE = ("create",)
# The executor reads an object again when a guard of a write to it fails, or its name is taken.
REREAD = ("get",)

# Every place that asks for a write: module, action, and the rights that it takes. Status writes of
# sets and events have their own actions and are among the others below.
WRITES: dict[tuple[str, str], set[Right]] = {
    ("controller/objects/plan.py", "Apply"): rights_of(
        resources.STATEFUL_SETS, "create", "patch", *REREAD
    ),
    ("controller/objects/plan.py", "Create"): rights_of(resources.SERVICES, *CREATE, *REREAD),
    ("controller/objects/group_objects.py", "Create"): (
        rights_of(resources.STATEFUL_SETS, *CREATE, *REREAD)
        | rights_of(resources.SERVICES, *CREATE, *REREAD)
        | rights_of(resources.POD_GROUPS, *CREATE, *REREAD)
    ),
    ("controller/status.py", "StatusWrite"): (
        rights_of(resources.SETS, "patch", sub="status") | rights_of(resources.SETS, *REREAD)
    ),
    ("controller/admission/node_failures.py", "Delete"): rights_of(
        resources.PODS, "delete", *REREAD
    ),
    ("controller/rollout/replacement.py", "Delete"): rights_of(resources.PODS, "delete", *REREAD),
    ("controller/restarts.py", "Delete"): rights_of(resources.PODS, "delete", *REREAD),
    ("controller/revision/revisions.py", "Create"): rights_of(
        resources.REVISIONS, *CREATE, *REREAD
    ),
    ("controller/revision/history.py", "Create"): rights_of(resources.REVISIONS, *CREATE, *REREAD),
    ("controller/revision/history.py", "Delete"): rights_of(resources.REVISIONS, "delete", *REREAD),
    ("controller/objects/foreign.py", "Patch"): rights_of(
        resources.STATEFUL_SETS, "patch", *REREAD
    ),
    ("controller/objects/worker_sets.py", "Patch"): rights_of(
        resources.STATEFUL_SETS, "patch", *REREAD
    ),
    ("workload/admission_status.py", "Apply"): rights_of(
        resources.WORKLOADS, "patch", sub="status"
    ),
    ("workload/eviction.py", "Delete"): rights_of(resources.PODS, "delete", *REREAD),
    ("workload/eviction.py", "Patch"): rights_of(resources.PODS, "patch", *REREAD),
    ("workload/group_mark.py", "Patch"): rights_of(resources.WORKLOADS, "patch", *REREAD),
    ("workload/pods_ready.py", "Apply"): rights_of(resources.WORKLOADS, "patch", sub="status"),
    ("workload/diff.py", "Create"): rights_of(resources.WORKLOADS, *CREATE, *REREAD),
    ("workload/diff.py", "Delete"): rights_of(resources.WORKLOADS, "delete", *REREAD),
    ("workload/diff.py", "Patch"): rights_of(resources.WORKLOADS, "patch", *REREAD),
    ("workload/injection.py", "Patch"): rights_of(resources.PODS, "patch", *REREAD),
    # A release reads its Workload once more.
    ("workload/release.py", "Release"): rights_of(resources.WORKLOADS, *REREAD),
}

WATCHED: set[Right] = set().union(
    *(
        rights_of(r, "list", "watch")
        for r in (*resources.PLAIN, *resources.KUEUE, resources.POD_GROUPS, resources.NAMESPACES)
    )
)

OTHERS: set[Right] = (
    # Those of StatefulSets that are short of pods are read (runtime/refusals.py).
    rights_of(resources.EVENTS, "create", "list")
    # Nodes are read where a decision needs them (decide.nodes_asked).
    | rights_of(resources.NODES, "get")
    # The namespace of a set that has no StatefulSet yet (runtime/informer.py).
    | rights_of(resources.NAMESPACES, "get")
    # Dry runs only (runtime/built_in.py).
    | rights_of(resources.SETS, "create")
    # kopf looks which kinds are served, and watches for new ones; one is compared (in_force.py).
    | rights_of(resources.CRDS, "list", "watch")
    # All policies are looked at from time to time (install/in_force.py).
    | {("admissionregistration.k8s.io", plural, "list") for plural in in_force.PLURALS}
    # Owner references that block the owner's deletion (api/owners.py).
    | rights_of(resources.SETS, "update", sub="finalizers")
    | rights_of(resources.PODS, "update", sub="finalizers")
)

# install/preflight.py looks for these two by name.
PREFLIGHT = {
    ("admissionregistration.k8s.io", plural, "get")
    for plural in ("mutatingadmissionpolicies", "mutatingadmissionpolicybindings")
}


def load(name: str, *, folder: str = "manager") -> list[dict[str, Any]]:
    text = (ROOT / "deploy" / folder / name).read_text(encoding="utf-8")
    return list(yaml.safe_load_all(text))


# runtime/clusters, which a process has only where worker clusters are switched on.
MULTIKUEUE: set[Right] = (
    rights_of(resources.MULTIKUEUE_CONFIGS, "list", "watch")
    | rights_of(resources.MULTIKUEUE_CLUSTERS, "list", "watch")
    | rights_of(resources.MULTIKUEUE_CLUSTERS, "patch", sub="status")
    | rights_of(resources.ADMISSION_CHECKS, "patch", sub="status")
    # The mirrored leaders of groups that run elsewhere (dispatch/mirror.py).
    | rights_of(resources.PODS, "patch", sub="status")
)


def granted(rule: dict[str, Any]) -> set[Right]:
    return {
        (group, resource, verb)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def rules() -> list[dict[str, Any]]:
    (role,) = load("cluster-role.yaml")
    found: list[dict[str, Any]] = role["rules"]
    return found


def places_that_write() -> set[tuple[str, str]]:
    """Every (module, action) in the pure core where an action is built."""
    actions = {"Create", "Apply", "Patch", "Delete", "Release", "StatusWrite"}
    found: set[tuple[str, str]] = set()
    for folder in ("controller", "workload", "tas"):
        for file in (PACKAGE / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                owner = node.func.value
                if isinstance(owner, ast.Name) and owner.id == "actions":
                    found.add((file.relative_to(PACKAGE).as_posix(), node.func.attr))
    return {(module, action) for module, action in found if action in actions}


def test_every_place_that_asks_for_a_write_is_in_the_table() -> None:
    assert places_that_write() == set(WRITES)


def test_the_role_allows_exactly_what_the_controller_does() -> None:
    allowed: set[Right] = set()
    for rule in rules():
        if "resourceNames" not in rule:
            allowed |= granted(rule)
    needed = WATCHED | OTHERS | set().union(*WRITES.values())
    assert needed - allowed == set(), "the controller may not do what it does"
    assert allowed - needed == set(), "the controller may do what it never does"


def test_the_lease_may_be_written_in_the_own_namespace_and_nowhere_else() -> None:
    role, binding = load("leader-election.yaml")
    (namespace,) = load("namespace.yaml")
    (account,) = load("service-account.yaml")
    # manager/leader/election.py reads it, makes it when it is missing, and replaces it.
    making, using = role["rules"]
    assert granted(making) == rights_of(election.LEASES, "create")
    assert granted(using) == rights_of(election.LEASES, "get", "update")
    # A create that is bound to a name is never allowed.
    assert "resourceNames" not in making
    assert using["resourceNames"] == [configuration.LeaderElection().resource_name]
    assert (role["kind"], binding["kind"]) == ("Role", "RoleBinding")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert {role["metadata"]["namespace"], binding["metadata"]["namespace"]} == {
        namespace["metadata"]["name"]
    }
    (subject,) = binding["subjects"]
    assert subject["name"] == account["metadata"]["name"]


def test_the_metrics_server_may_ask_who_asks_and_a_reader_may_only_read() -> None:
    _, asking, binding, reading = load("metrics.yaml")
    (account,) = load("service-account.yaml")
    allowed = set().union(*(granted(rule) for rule in asking["rules"]))
    # The paths in the code are those of these kinds.
    assert {
        f"/apis/{group}/v1/{resource}" for group, resource, verb in allowed if verb == "create"
    } == {authorization.TOKEN_REVIEWS, authorization.ACCESS_REVIEWS}
    assert len(allowed) == 2
    assert binding["roleRef"]["name"] == asking["metadata"]["name"]
    assert [subject["name"] for subject in binding["subjects"]] == [account["metadata"]["name"]]
    assert reading["rules"] == [{"nonResourceURLs": [metrics_server.PATH], "verbs": ["get"]}]


def test_policies_are_readable_by_name_only() -> None:
    (rule,) = (rule for rule in rules() if "resourceNames" in rule)
    assert granted(rule) == PREFLIGHT
    assert rule["resourceNames"] == ["lws-kueue-pod-identity"]
    # The names in this test are those in the code.
    source = Path(preflight.__file__).read_text(encoding="utf-8")
    for word in ("lws-kueue-pod-identity", *(plural for _, plural, _ in PREFLIGHT)):
        assert word in source


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: ",".join(rule["resources"]))
def test_no_rule_has_a_wildcard(rule: dict[str, Any]) -> None:
    assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}


def test_every_rule_has_its_reason_above_it() -> None:
    lines = (ROOT / "deploy/manager/cluster-role.yaml").read_text(encoding="utf-8").splitlines()
    starts = [n for n, line in enumerate(lines) if line.startswith("- apiGroups")]
    for start in starts:
        # Rules that follow each other may share a reason.
        above = start - 1
        while lines[above].startswith(("- apiGroups", "  ")):
            above -= 1
        assert lines[above].startswith("#"), f"line {start + 1} has no reason"


def test_the_role_is_bound_to_the_service_account_of_the_deployment() -> None:
    (binding,) = load("cluster-role-binding.yaml")
    (account,) = load("service-account.yaml")
    (deployment,) = load("deployment.yaml")
    (namespace,) = load("namespace.yaml")
    (role,) = load("cluster-role.yaml")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [
        {
            "kind": "ServiceAccount",
            "name": account["metadata"]["name"],
            "namespace": namespace["metadata"]["name"],
        }
    ]
    assert deployment["metadata"]["namespace"] == namespace["metadata"]["name"]
    pod = deployment["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == account["metadata"]["name"]


def test_rights_for_worker_clusters_are_apart_and_secrets_are_read_in_one_namespace() -> None:
    role, secrets = load("roles.yaml", folder="multikueue/manager")
    assert set().union(*(granted(rule) for rule in role["rules"])) == MULTIKUEUE
    assert set().union(*(granted(rule) for rule in secrets["rules"])) == rights_of(
        resources.SECRETS, "get"
    )
    assert secrets["kind"] == "Role"
    assert secrets["metadata"]["namespace"] == configuration.MultiKueue().namespace
    usual = set().union(*(granted(rule) for rule in rules()))
    assert not usual & (MULTIKUEUE | rights_of(resources.SECRETS, "get"))
    # What it is known by and which checks there are may be read anyway.
    assert rights_of(resources.NAMESPACES, "get") <= usual
    assert rights_of(resources.ADMISSION_CHECKS, "list", "watch") <= usual
    (account,) = load("service-account.yaml")
    for binding, bound in zip(
        load("bindings.yaml", folder="multikueue/manager"), (role, secrets), strict=True
    ):
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == (
            bound["kind"],
            bound["metadata"]["name"],
        )
        (subject,) = binding["subjects"]
        assert subject["name"] == account["metadata"]["name"]
        assert subject["namespace"] == account["metadata"]["namespace"]


def test_a_worker_grants_what_it_is_asked_for_and_nothing_else() -> None:
    role, binding = load("role.yaml", folder="multikueue/worker")
    _, account, token = load("account.yaml", folder="multikueue/worker")
    asked = {(right.group, right.resource, right.verb) for right in eligibility.RIGHTS}
    assert set().union(*(granted(rule) for rule in role["rules"])) == asked
    (subject,) = binding["subjects"]
    assert subject["name"] == account["metadata"]["name"]
    owner = token["metadata"]["annotations"]["kubernetes.io/service-account.name"]
    assert owner == account["metadata"]["name"]


def test_the_account_of_kueues_multikueue_makes_sets_and_workloads_and_nothing_else() -> None:
    account, role, binding = load("account.yaml", folder="multikueue/built-in")
    rights = set().union(*(granted(rule) for rule in role["rules"]))
    made = rights_of(resources.WORKLOADS, "create") | rights_of(resources.SETS, "create")
    assert {right for right in rights if right[2] == "create"} == made
    assert not any(kind == "secrets" or "*" in (group, kind, verb) for group, kind, verb in rights)
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    (subject,) = binding["subjects"]
    assert (subject["name"], subject["namespace"]) == (
        account["metadata"]["name"],
        account["metadata"]["namespace"],
    )


def test_people_get_their_rights_through_the_roles_that_every_cluster_has() -> None:
    roles = {role["metadata"]["name"]: role for role in load("user-roles.yaml", folder="api")}
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    targets = {
        name: {
            label.removeprefix(prefix)
            for label in role["metadata"]["labels"]
            if label.startswith(prefix)
        }
        for name, role in roles.items()
    }
    assert targets == {
        "lws-kueue-leaderworkerset-editor": {"admin", "edit"},
        "lws-kueue-leaderworkerset-viewer": {"view"},
        # It is bound by hand.
        "lws-kueue-kubectl-viewer": set(),
    }
    viewer = set().union(
        *(granted(rule) for rule in roles["lws-kueue-leaderworkerset-viewer"]["rules"])
    )
    assert {verb for _, _, verb in viewer} == {"get", "list", "watch"}


def test_the_policies_bind_the_account_by_the_name_that_it_has() -> None:
    (account,) = load("service-account.yaml")
    policies = [
        policy
        for policy in load("own-rights.yaml", folder="api")
        if policy["kind"] == "ValidatingAdmissionPolicy"
    ]
    for policy in policies:
        (condition,) = policy["spec"]["matchConditions"]
        assert f"endsWith(':{account['metadata']['name']}')" in condition["expression"]
        assert policy["spec"]["failurePolicy"] == "Fail"
    bound = {
        (group, resource)
        for policy in policies
        for rule in policy["spec"]["matchConstraints"]["resourceRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    written = {
        (group, resource)
        for group, resource, verb in set().union(*(granted(rule) for rule in rules()))
        if verb in ("create", "update", "patch", "delete") and not resource.endswith("/finalizers")
    }
    # A status of a set and an Event say something and do nothing.
    free = {("leaderworkerset.x-k8s.io", "leaderworkersets/status"), ("events.k8s.io", "events")}
    assert bound == written - free


def test_the_role_of_kubectl_lws_allows_what_its_reading_commands_read_and_no_more() -> None:
    (role,) = (
        one
        for one in load("user-roles.yaml", folder="api")
        if one["metadata"]["name"] == reading.ROLE
    )
    allowed = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    listed = {
        *resources.PLAIN,
        *resources.KUEUE,
        look.COHORTS,
        look.TOPOLOGIES,
        resources.NODES,
        resources.NAMESPACES,
        resources.EVENTS,
    }
    named = (resources.SETS, resources.STATEFUL_SETS, resources.SERVICES)
    wanted = {right for kind in listed for right in rights_of(kind, "list")}
    wanted |= {right for kind in named for right in rights_of(kind, "get")}
    wanted |= {("", "pods/log", "get")}
    wanted |= {("visibility.kueue.x-k8s.io", "clusterqueues/pendingworkloads", "get")}
    assert allowed == wanted
