"""The Deployment, the image and the kustomizations agree with the code and with each other."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

import lws_kueue
from lws_kueue import cli
from lws_kueue.manager import logs, process
from lws_kueue.manager.settings import configuration, go_values
from lws_kueue.runtime import build_info

ROOT = Path(__file__).resolve().parents[2]


def deployment() -> dict[str, Any]:
    text = (ROOT / "deploy/manager/deployment.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def container() -> dict[str, Any]:
    (only,) = deployment()["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = only
    return found


def instructions() -> list[tuple[str, list[str]]]:
    """The instructions of the Dockerfile: its keyword and its words."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [(line.split()[0], shlex.split(line)[1:]) for line in joined.splitlines()]


def kustomizations() -> list[Path]:
    found = [*ROOT.glob("*/**/kustomization.yaml"), *ROOT.glob("*/Kustomization")]
    return sorted(file for file in found if ".venv" not in file.parts)


def test_there_are_two_replicas_and_an_update_never_leaves_none() -> None:
    spec = deployment()["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["type"] == "RollingUpdate"
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_the_replicas_elect_one_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[configuration.Configuration] = []

    async def run(wanted: configuration.Configuration, **_: Any) -> None:
        started.append(wanted)

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(logs, "set_up", lambda **_: None)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    outcome = CliRunner().invoke(cli.main, container()["args"])
    assert outcome.exit_code == 0, outcome.output
    (wanted,) = started
    assert wanted.leader_election.leader_elect
    assert wanted.leader_election.namespace == deployment()["metadata"]["namespace"]
    # A crash costs no more than this and one look at the Lease.
    assert wanted.leader_election.lease_duration <= 10


def test_the_container_passes_the_restricted_pod_security_standard() -> None:
    pod = deployment()["spec"]["template"]["spec"]
    security = container()["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}


def test_the_command_line_of_the_deployment_is_one_that_the_program_takes() -> None:
    # --help makes click check the other options and then stop.
    arguments = [*container()["args"], "--help"]
    outcome = CliRunner().invoke(cli.main, arguments)
    assert outcome.exit_code == 0, outcome.output


def ports() -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container()["ports"]}


def test_the_probes_ask_what_the_program_serves_by_default() -> None:
    health = configuration.Health()
    served = go_values.address(health.health_probe_bind_address)
    assert served is not None
    assert ports()["health"] == served.port
    assert container()["livenessProbe"]["httpGet"] == {
        "path": health.liveness_endpoint_name,
        "port": "health",
    }
    assert container()["startupProbe"]["httpGet"] == container()["livenessProbe"]["httpGet"]
    assert container()["readinessProbe"]["httpGet"] == {
        "path": health.readiness_endpoint_name,
        "port": "health",
    }


def test_the_metrics_service_leads_to_what_the_program_serves_by_default() -> None:
    served = go_values.address(configuration.Metrics().bind_address)
    assert served is not None
    assert ports()["metrics"] == served.port
    text = (ROOT / "deploy/manager/metrics.yaml").read_text(encoding="utf-8")
    service = next(obj for obj in yaml.safe_load_all(text) if obj["kind"] == "Service")
    (port,) = service["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (served.port, "metrics")
    labels = deployment()["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()


def manifest(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "deploy/manager" / name).read_text("utf-8"))
    return found


def test_nothing_but_probes_and_metrics_can_be_connected_to() -> None:
    policy = manifest("network-policy.yaml")
    labels = deployment()["spec"]["template"]["metadata"]["labels"]
    assert policy["metadata"]["namespace"] == deployment()["metadata"]["namespace"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    (rule,) = policy["spec"]["ingress"]
    assert {port["port"] for port in rule["ports"]} == set(ports())


def test_a_drain_leaves_one_of_the_replicas() -> None:
    budget = manifest("disruption-budget.yaml")
    labels = deployment()["spec"]["template"]["metadata"]["labels"]
    assert budget["metadata"]["namespace"] == deployment()["metadata"]["namespace"]
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert deployment()["spec"]["replicas"] - budget["spec"]["maxUnavailable"] == 1


def test_only_the_pods_of_the_deployment_get_a_token() -> None:
    assert manifest("service-account.yaml")["automountServiceAccountToken"] is False
    assert deployment()["spec"]["template"]["spec"]["automountServiceAccountToken"] is True


def test_there_is_a_place_for_the_key_of_the_metrics_server() -> None:
    (volume,) = deployment()["spec"]["template"]["spec"]["volumes"]
    assert volume["emptyDir"]["medium"] == "Memory"
    assert {"name": volume["name"], "mountPath": "/tmp"} in container()["volumeMounts"]


def test_the_image_tells_the_program_which_build_it_is() -> None:
    variables = {name for key, words in instructions() if key == "ENV" for name in words}
    for variable in (build_info.COMMIT_VARIABLE, build_info.DATE_VARIABLE):
        argument = variable.removeprefix("LWS_KUEUE_")
        assert f"{variable}=${argument}" in variables
        assert ["ARG", [f"{argument}="]] in [[key, words] for key, words in instructions()]


def test_the_image_has_the_version_of_the_package() -> None:
    assert container()["image"].endswith(f":{lws_kueue.__version__}")


def test_the_image_and_the_deployment_run_as_the_same_user() -> None:
    context = deployment()["spec"]["template"]["spec"]["securityContext"]
    (user,) = (words for keyword, words in instructions() if keyword == "USER")
    assert user == [f"{context['runAsUser']}:{context['runAsGroup']}"]


def test_the_dockerfile_has_only_known_instructions_and_begins_with_one_base_for_all() -> None:
    keywords = [keyword for keyword, _ in instructions()]
    assert keywords[:2] == ["ARG", "FROM"]
    # A digest is given for all stages at once.
    bases = {words[0] for keyword, words in instructions() if keyword == "FROM"}
    assert bases == {"${PYTHON_IMAGE}"}
    known = {"FROM", "WORKDIR", "COPY", "RUN", "ARG", "ENV", "USER", "ENTRYPOINT", "CMD"}
    assert set(keywords) <= known


def test_everything_that_the_dockerfile_copies_exists_and_is_sent_to_the_engine() -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    stages = {
        words[words.index("AS") + 1]
        for keyword, words in instructions()
        if keyword == "FROM" and "AS" in words
    }
    copied: set[str] = set()
    for keyword, words in instructions():
        if keyword != "COPY":
            continue
        if words[0].startswith("--from="):
            assert words[0].removeprefix("--from=") in stages
            continue
        copied |= set(words[:-1])
    assert copied == sent
    assert [name for name in copied if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("file", kustomizations(), ids=lambda f: f.relative_to(ROOT).as_posix())
def test_a_kustomization_names_every_manifest_beside_it(file: Path) -> None:
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert content["kind"] == "Kustomization"
    for resource in content["resources"]:
        assert (file.parent / resource).exists(), resource
    beside = {other.name for other in file.parent.glob("*.yaml")} - {"kustomization.yaml"}
    assert beside <= set(content["resources"])
