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


def test_probes_go_to_the_default_namespace_and_store_nothing() -> None:
    for probe in probes.probes():
        assert "/namespaces/default/" in probe.path
        assert probe.path.endswith("?dryRun=All")


def test_the_policy_of_a_scheduler_is_asked_for_only_where_it_is_installed() -> None:
    always = {probe.policy for probe in probes.probes()}
    with_volcano = probes.probes(gang_scheduling="volcano")
    (added,) = (probe for probe in with_volcano if probe.policy not in always)
    assert added.policy == "lws-kueue-volcano"
    # The probe has no revision.
    named = {"metadata": {"annotations": {names.POD_GROUP: "lws-kueue-probe-0-"}}}
    assert added.holds(status=201, answer=named)
    assert not added.holds(status=201, answer={"metadata": {"annotations": {names.SIZE: "1"}}})
