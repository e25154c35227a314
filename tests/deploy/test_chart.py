"""The chart makes what `lws-kueue install` and deploy/manager make, and refuses the rest."""

import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

import lws_kueue
from lws_kueue.api import names
from lws_kueue.install import manifests
from lws_kueue.manager.settings import configuration
from tests.kit import helm

# Helm is built for them, which takes minutes once.
pytestmark = pytest.mark.long

Key = tuple[str, str]
Objects = Mapping[Key, dict[str, Any]]

KEEP: Final = "helm.sh/resource-policy"

# What of deploy/manager the chart leaves to others on purpose.
LEFT_OUT: Final = {("Namespace", "lws-kueue-system"): "--create-namespace, or whoever installs"}
# What the chart says of an object beyond what stands in deploy/.
ADDED: Final = {
    ("CustomResourceDefinition", f"{names.LWS_PLURAL}.{names.LWS_GROUP}"): {KEEP: "keep"},
}

VALUES: Final[dict[str, Any]] = yaml.safe_load((helm.CHART / "values.yaml").read_text("utf-8"))

# The arguments of the chart, and what `lws-kueue install` is told for the same.
CHOICES: Final[dict[str, tuple[tuple[str, ...], manifests.Choice]]] = {
    "nothing": ((), {}),
    "kueue": (("--set", "kueue.enabled=true"), {"kueue": True}),
    "kueue, as it is served": (("--api-versions", names.KUEUE_API_VERSION), {"kueue": True}),
    "no kueue, though it is served": (
        ("--api-versions", names.KUEUE_API_VERSION, "--set", "kueue.enabled=false"),
        {},
    ),
    "a priority without kueue": (
        ("--set", "defaultPriorityClass.enabled=true"),
        {"default_priority_class": True},
    ),
    "everything": (
        (
            *("--set", "kueue.enabled=true", "--set", "defaultPriorityClass.enabled=true"),
            *("--set", "gangSchedulingManagement.schedulerProvider=volcano"),
        ),
        {"kueue": True, "default_priority_class": True, "gang_scheduling": "volcano"},
    ),
}


def by_name(objects: list[dict[str, Any]]) -> Objects:
    found = {(obj["kind"], obj["metadata"]["name"]): obj for obj in objects}
    assert len(found) == len(objects)
    return found


def without_additions(key: Key, obj: dict[str, Any]) -> dict[str, Any]:
    """Return an object of the chart without what it adds, which has to be there."""
    meta = obj["metadata"]
    annotations = dict(meta.get("annotations", {}))
    for name, value in ADDED.get(key, {}).items():
        assert annotations.pop(name) == value
    return {**obj, "metadata": {**meta, "annotations": annotations}} if annotations else obj


def manager() -> Objects:
    files = sorted((helm.ROOT / "deploy" / "manager").glob("*.yaml"))
    objects = [obj for f in files if f.name != "kustomization.yaml" for obj in manifests.load(f)]
    return by_name(objects)


def one(objects: Objects, kind: str) -> dict[str, Any]:
    (found,) = (obj for (its, _), obj in objects.items() if its == kind)
    return found


@pytest.mark.parametrize("choice", CHOICES)
def test_the_api_of_the_chart_is_that_of_the_install_command(choice: str, tmp_path: Path) -> None:
    arguments, wanted = CHOICES[choice]
    arguments = (*arguments, "--set", "controller.enabled=false")
    rendered = by_name(helm.render(*arguments, home=tmp_path))
    expected = by_name(manifests.api_objects(**wanted))
    assert set(rendered) == set(expected)
    for key, obj in rendered.items():
        assert without_additions(key, obj) == expected[key], key


def test_the_controller_of_the_chart_is_that_of_deploy_manager(tmp_path: Path) -> None:
    rendered = by_name(helm.render(home=tmp_path))
    api = by_name(manifests.api_objects())
    expected = manager()
    assert set(LEFT_OUT) <= set(expected)
    assert set(rendered) - set(api) == set(expected) - set(LEFT_OUT)
    for key in expected.keys() - LEFT_OUT:
        assert rendered[key] == expected[key], key


def test_prometheus_is_told_what_deploy_prometheus_tells_it(tmp_path: Path) -> None:
    folder = helm.ROOT / "deploy" / "prometheus"
    files = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))["resources"]
    expected = by_name([obj for name in files for obj in manifests.load(folder / name)])
    rendered = by_name(helm.render("--set", "enablePrometheus=true", home=tmp_path))
    assert {key: rendered.get(key) for key in expected} == expected
    assert not expected.keys() & by_name(helm.render(home=tmp_path)).keys()


def test_chart_and_image_have_the_version_of_the_package() -> None:
    chart = yaml.safe_load((helm.CHART / "Chart.yaml").read_text("utf-8"))
    assert (chart["version"], chart["appVersion"]) == (lws_kueue.__version__,) * 2


def test_helm_finds_nothing_to_complain_about(tmp_path: Path) -> None:
    done = helm.run("lint", "--strict", str(helm.CHART), home=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 chart(s) failed" in done.stdout


def test_a_packed_chart_needs_no_other_file_and_makes_the_same(tmp_path: Path) -> None:
    done = helm.run("package", str(helm.CHART), "--destination", str(tmp_path), home=tmp_path)
    assert done.returncode == 0, done.stderr
    (packed,) = tmp_path.glob("lws-kueue-*.tgz")
    with tarfile.open(packed) as archive:
        members = archive.getmembers()
        assert all(member.isfile() for member in members)
    found = {member.name.removeprefix("lws-kueue/") for member in members}
    assert {"README.md", "values.schema.json", "files/crds/leaderworkersets.yaml"} <= found
    assert not [name for name in found if "ustomization" in name]
    assert helm.render(home=tmp_path, chart=packed) == helm.render(home=tmp_path)
    # Helm stores a chart with each revision, in a Secret.
    assert packed.stat().st_size * 4 / 3 < 400 * 1024


def mappings(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the paths of all mappings of the values that have keys of their own."""
    if not isinstance(value, dict):
        return []
    below = [inner for key, each in value.items() for inner in mappings(each, (*path, key))]
    return [path, *below]


# Whatever Kubernetes or the user may write there; the API server says what is wrong.
FREE: Final = {
    *(("resources", part) for part in ("requests", "limits")),
    ("podSecurityContext",),
    ("securityContext",),
    ("podSecurityContext", "seccompProfile"),
    ("securityContext", "capabilities"),
    *((key,) for key in ("nodeSelector", "podAnnotations", "podLabels")),
    ("serviceAccount", "annotations"),
    *((key, "labels") for key in ("serviceMonitor", "prometheusRule", "grafanaDashboard")),
    ("grafanaDashboard", "annotations"),
}


@pytest.mark.parametrize(
    "path", [path for path in mappings(VALUES) if path not in FREE], ids=".".join
)
def test_a_key_that_the_chart_does_not_know_is_refused(
    path: tuple[str, ...], tmp_path: Path
) -> None:
    said = helm.refused("--set-string", ".".join((*path, "replicas=3")), home=tmp_path)
    assert "replicas" in said
    assert "additional properties" in said.lower()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("replicaCount=two", "replicaCount"),
        ("kueue.enabled=maybe", "kueue"),
        ("gangSchedulingManagement.schedulerProvider=other", "schedulerProvider"),
        ("image.digest=sha256:12", "digest"),
        ("serviceMonitor.interval=often", "interval"),
    ],
)
def test_a_value_of_another_kind_is_refused(given: str, said: str, tmp_path: Path) -> None:
    assert said in helm.refused("--set", given, home=tmp_path)


DIGEST: Final = "sha256:" + "0" * 64


def pod(objects: Objects) -> dict[str, Any]:
    found: dict[str, Any] = one(objects, "Deployment")["spec"]["template"]
    return found


def container(objects: Objects) -> dict[str, Any]:
    (only,) = pod(objects)["spec"]["containers"]
    found: dict[str, Any] = only
    return found


@pytest.mark.parametrize(
    ("given", "image"),
    [
        ("image.tag=v9", "ghcr.io/lws-kueue/lws-kueue:v9"),
        ("image.repository=example.com/mine", f"example.com/mine:{lws_kueue.__version__}"),
        (f"image.digest={DIGEST}", f"ghcr.io/lws-kueue/lws-kueue@{DIGEST}"),
    ],
)
def test_the_image_is_the_one_that_is_named(given: str, image: str, tmp_path: Path) -> None:
    assert container(by_name(helm.render("--set", given, home=tmp_path)))["image"] == image


# A value, where it stands in the pod or the container, and what stands there.
PLACES: Final[list[tuple[str, str, Any]]] = [
    ("priorityClassName", "spec.priorityClassName", "other"),
    ("nodeSelector", "spec.nodeSelector", {"disk": "ssd"}),
    ("tolerations", "spec.tolerations", [{"key": "infra", "operator": "Exists"}]),
    ("affinity", "spec.affinity", {"podAffinity": {}}),
    ("topologySpreadConstraints", "spec.topologySpreadConstraints", [{"maxSkew": 2}]),
    ("imagePullSecrets", "spec.imagePullSecrets", [{"name": "pull"}]),
    ("podSecurityContext", "spec.securityContext", {"runAsNonRoot": True}),
    ("podAnnotations", "metadata.annotations", {"a": "b"}),
    ("securityContext", "container.securityContext", {"readOnlyRootFilesystem": True}),
    ("resources", "container.resources", {"requests": {"cpu": "1", "memory": "2Gi"}}),
    ("extraEnv", "container.env", [{"name": "HTTPS_PROXY", "value": "http://proxy"}]),
]


@pytest.mark.parametrize(("key", "place", "value"), PLACES, ids=[key for key, _, _ in PLACES])
def test_a_value_stands_in_the_pod(key: str, place: str, value: Any, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    # null takes what the chart has by default away, as Helm merges mappings.
    defaults = VALUES[key] if isinstance(VALUES[key], dict) else {}
    given = {**dict.fromkeys(defaults), **value} if isinstance(value, dict) else value
    file.write_text(yaml.safe_dump({key: given}), encoding="utf-8")
    objects = by_name(helm.render("--values", str(file), home=tmp_path))
    found: Any = {**pod(objects), "container": container(objects)}
    for step in place.split("."):
        found = found[step]
    assert found == value


def test_labels_and_arguments_are_added_to_those_that_are_there(tmp_path: Path) -> None:
    before, after = (
        by_name(helm.render(*arguments, home=tmp_path))
        for arguments in (
            (),
            ("--set", "extraArgs={--verbose}", "--set", "podLabels.team=serving"),
        )
    )
    assert container(after)["args"] == [*container(before)["args"], "--verbose"]
    assert pod(after)["metadata"]["labels"] == {
        **pod(before)["metadata"]["labels"],
        "team": "serving",
    }


@pytest.mark.parametrize("key", sorted(VALUES))
def test_a_value_of_which_all_lines_are_commented_out_is_empty_or_refused_by_its_name(
    key: str, tmp_path: Path
) -> None:
    watched = ("--set", "enablePrometheus=true,grafanaDashboard.enabled=true", "--set")
    done = helm.template(*watched, f"{key}=null", home=tmp_path)
    assert done.returncode == 0 or f"missing property '{key}'" in done.stderr, done.stderr


@pytest.mark.parametrize("key", ["podLabels", "podAnnotations", "extraArgs"])
def test_without_labels_annotations_or_arguments_the_pod_is_as_it_was(
    key: str, tmp_path: Path
) -> None:
    assert pod(by_name(helm.render("--set", f"{key}=null", home=tmp_path))) == pod(
        by_name(helm.render(home=tmp_path))
    )


@pytest.mark.parametrize("of", ["serviceMonitor", "prometheusRule", "grafanaDashboard"])
def test_labels_that_are_taken_away_leave_what_is_well_formed(of: str, tmp_path: Path) -> None:
    watched = ("--set", "enablePrometheus=true,grafanaDashboard.enabled=true", "--set")
    assert helm.render(*watched, f"{of}.labels=null", home=tmp_path)


def test_what_is_switched_off_is_not_there(tmp_path: Path) -> None:
    arguments = ("--set", "podDisruptionBudget.enabled=false,networkPolicy.enabled=false")
    kinds = {kind for kind, _ in by_name(helm.render(*arguments, home=tmp_path))}
    assert not kinds & {"PodDisruptionBudget", "NetworkPolicy"}


def test_one_peer_may_ask_for_metrics_and_the_kubelet_still_for_health(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    peers = [{"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}]
    file.write_text(yaml.safe_dump({"networkPolicy": {"metricsFrom": peers}}), encoding="utf-8")
    policy = one(by_name(helm.render("--values", str(file), home=tmp_path)), "NetworkPolicy")
    assert policy["spec"]["ingress"] == [
        {"ports": [{"port": "metrics", "protocol": "TCP"}], "from": peers},
        {"ports": [{"port": "health", "protocol": "TCP"}]},
    ]


def configured(text: str, home: Path, *arguments: str) -> Objects:
    file = home / "values.yaml"
    values = {"managerConfig": {"controllerManagerConfigYaml": text}}
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return by_name(helm.render("--values", str(file), *arguments, home=home))


def test_the_controller_reads_the_configuration_that_is_given(tmp_path: Path) -> None:
    volcano = ("--set", "gangSchedulingManagement.schedulerProvider=volcano")
    objects = configured("lwsKueue:\n  resyncInterval: 5m\n", tmp_path, *volcano)
    stored = one(objects, "ConfigMap")
    ((file, text),) = stored["data"].items()
    read = configuration.parse(text)
    assert read.gang_scheduling_management is not None
    assert read.gang_scheduling_management.scheduler_provider == "volcano"
    (mount,) = (m for m in container(objects)["volumeMounts"] if m["name"] == "manager-config")
    (volume,) = (v for v in pod(objects)["spec"]["volumes"] if v["name"] == "manager-config")
    assert volume["configMap"]["name"] == stored["metadata"]["name"]
    assert f"--config={mount['mountPath']}/{file}" in container(objects)["args"]


def test_another_configuration_is_another_pod_and_none_is_no_configmap(tmp_path: Path) -> None:
    seconds = [configured(f"clientConnection:\n  qps: {n}\n", tmp_path) for n in (1, 2)]
    marks = [pod(objects)["metadata"]["annotations"] for objects in seconds]
    assert marks[0] != marks[1]
    assert "ConfigMap" not in {kind for kind, _ in configured("", tmp_path)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metrics: {bindAddress: ':9000'}", "metrics.bindAddress is settled by the chart"),
        ("health: {healthProbeBindAddress: ':1'}", "health is settled by the chart"),
        ("leaderElection: {resourceName: x}", "leaderElection.resourceName is settled"),
        ("gangSchedulingManagement: {schedulerProvider: volcano}", "give the value gangSched"),
        ("- a list", "is no YAML mapping"),
    ],
)
def test_what_would_contradict_the_chart_is_refused(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    values = {"managerConfig": {"controllerManagerConfigYaml": text}}
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    assert said in helm.refused("--values", str(file), home=tmp_path)


def test_another_namespace_is_refused_because_policies_bind_the_service_account(
    tmp_path: Path,
) -> None:
    done = helm.template(home=tmp_path, namespace="other")
    assert done.returncode != 0
    assert "the namespace has to be lws-kueue-system" in done.stderr
    alone = ("--set", "controller.enabled=false")
    assert helm.template(*alone, home=tmp_path, namespace="other").returncode == 0


def test_every_value_is_known_to_the_schema_and_used_by_a_template() -> None:
    schema = yaml.safe_load((helm.CHART / "values.schema.json").read_text("utf-8"))
    assert set(schema["properties"]) - {"global"} == set(VALUES)
    texts = "".join(
        file.read_text("utf-8") for file in sorted((helm.CHART / "templates").iterdir())
    )
    assert [key for key in VALUES if not re.search(rf"\b{key}\b", texts)] == []
