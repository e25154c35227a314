"""What the controller refuses to start on, and what it says then."""

import asyncio
from typing import Any

import pytest

from lws_kueue.install import preflight
from lws_kueue.runtime import client, kueue_support

POLICY_API = "/apis/admissionregistration.k8s.io/v1"
POLICIES = {"resources": [{"name": "mutatingadmissionpolicies"}]}
FIT: dict[str, Any] = {
    "/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.3"},
    POLICY_API: POLICIES,
    "/apis/leaderworkerset.x-k8s.io/v1": {},
    f"{POLICY_API}/mutatingadmissionpolicies/lws-kueue-pod-identity": {},
    f"{POLICY_API}/mutatingadmissionpolicybindings/lws-kueue-pod-identity": {},
}


class Server:
    """Answers GET requests from a table; what is not in it is not found."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers

    async def request(self, method: str, path: str) -> dict[str, Any]:
        assert method == "GET"
        if path not in self.answers:
            raise client.ApiError(status=404, reason="NotFound", message="no", request=path)
        answer: dict[str, Any] = self.answers[path]
        return answer


def check(answers: dict[str, Any]) -> None:
    asyncio.run(preflight.check(Server(answers)))  # type: ignore[arg-type]


def test_a_fit_api_server_is_accepted() -> None:
    check(FIT)


@pytest.mark.parametrize(
    "version",
    [
        {"major": "1", "minor": "35", "gitVersion": "v1.35.9"},
        {"major": "1", "minor": "30+", "gitVersion": "v1.30.1-gke.7"},
    ],
)
def test_an_older_api_server_is_refused_with_its_version_and_the_reason(
    version: dict[str, str],
) -> None:
    with pytest.raises(preflight.Unfit) as refusal:
        check({**FIT, "/version": version})
    assert version["gitVersion"] in str(refusal.value)
    assert "1.36" in str(refusal.value)
    assert "admission policies" in str(refusal.value)


@pytest.mark.parametrize("version", [{"major": "1", "minor": "36+"}, {"major": "2", "minor": "0"}])
def test_a_newer_or_patched_api_server_is_accepted(version: dict[str, str]) -> None:
    check({**FIT, "/version": {**version, "gitVersion": "v"}})


def test_an_api_server_without_mutating_policies_is_refused_with_what_to_enable() -> None:
    with pytest.raises(preflight.Unfit, match="MutatingAdmissionPolicy"):
        check({**FIT, POLICY_API: {"resources": []}})


@pytest.mark.parametrize("missing", list(FIT)[2:])
def test_a_cluster_without_an_installed_part_is_refused_with_the_command(missing: str) -> None:
    answers = {path: answer for path, answer in FIT.items() if path != missing}
    with pytest.raises(preflight.Unfit, match="lws-kueue install"):
        check(answers)


@pytest.mark.parametrize(
    ("answers", "support", "said"),
    [
        ({}, "missing", "Kueue is not installed"),
        (
            {"/apis/kueue.x-k8s.io": {"versions": [{"version": "v1beta1"}]}},
            "unsupported",
            "v1beta1 but not v1beta2",
        ),
        (
            {
                "/apis/kueue.x-k8s.io": {"versions": [{"version": "v1beta2"}]},
                "/apis/kueue.x-k8s.io/v1beta2": {"resources": [{"name": "workloads"}]},
            },
            "served",
            "",
        ),
    ],
)
def test_kueue_is_recognised_by_the_version_it_serves(
    answers: dict[str, Any], support: str, said: str
) -> None:
    found, detail = asyncio.run(kueue_support.probe(Server(answers)))  # type: ignore[arg-type]
    assert found == support
    assert said in detail
