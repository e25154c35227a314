"""What proves a policy active, and what does not."""

from typing import Any

from lws_kueue.api import names, probes


def _probe(policy: str) -> probes.Probe:
    (found,) = (probe for probe in probes.probes() if probe.policy == policy)
    return found


def _denial(policy: str) -> dict[str, Any]:
    text = f"ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: no"
    return {"kind": "Status", "message": text}


def test_a_change_is_proven_by_the_value_alone() -> None:
    probe = _probe("lws-kueue-pod-identity")
    assert probe.holds(status=201, answer={"metadata": {"labels": {names.GROUP_INDEX: "0"}}})
    assert not probe.holds(status=201, answer={"metadata": {"labels": {}}})
    assert not probe.holds(status=201, answer={"metadata": {}})
    assert not probe.holds(status=403, answer=_denial("lws-kueue-pod-identity"))


def test_a_refusal_is_proven_by_the_name_of_the_policy_that_refused() -> None:
    probe = _probe("lws-kueue-pod-identity-rules")
    assert probe.holds(status=422, answer=_denial("lws-kueue-pod-identity-rules"))
    # One name begins with the other.
    assert not _probe("lws-kueue-rules").holds(
        status=422, answer=_denial("lws-kueue-rules-of-somebody-else")
    )
    assert not probe.holds(status=403, answer={"message": "no service account"})
    assert not probe.holds(status=201, answer={})


def test_probes_go_to_the_namespace_that_was_asked_for_and_store_nothing() -> None:
    for probe in probes.probes("elsewhere"):
        assert "/namespaces/elsewhere/" in probe.path
        assert probe.path.endswith("?dryRun=All")
