"""What a Kueue manager is given before it starts: its configuration, and who names it."""

from pathlib import Path
from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import kueue_manager, kueue_settings, manager

Object = dict[str, Any]


def configuration(**settings: Any) -> Object:
    return kueue_settings.configuration(
        kueue_settings.KueueSettings(**settings),
        manager.Endpoints(
            webhook_port=1,
            health_port=2,
            certificate_directory=Path("/certificates"),
            namespace="kueue-system",
            webhook_service="kueue-webhook-service",
            webhook_secret="certificate",
        ),
    )


def test_the_default_configuration_leaves_leader_worker_sets_to_the_bridge() -> None:
    integrations = configuration()["integrations"]
    assert integrations["externalFrameworks"] == ["LeaderWorkerSet.v1.leaderworkerset.x-k8s.io"]
    assert "leaderworkerset.x-k8s.io/leaderworkerset" not in integrations["frameworks"]
    # What looks at pods and StatefulSets is on where people install Kueue.
    assert {"batch/job", "pod", "deployment", "statefulset"} < set(integrations["frameworks"])
    assert "waitForPodsReady" not in configuration()


def test_the_manager_listens_on_loopback_alone() -> None:
    made = configuration()
    assert made["webhook"]["host"] == "127.0.0.1"
    assert made["health"]["healthProbeBindAddress"] == "127.0.0.1:2"
    assert made["metrics"]["bindAddress"] == "0"
    assert made["featureGates"] == {"VisibilityOnDemand": False}


def test_only_what_was_set_about_waiting_for_pods_is_written() -> None:
    wait = kueue_settings.WaitForPodsReady(timeout=0.5, backoff_limit_count=0)
    assert configuration(wait_for_pods_ready=wait)["waitForPodsReady"] == {
        "timeout": "0.5s",
        "requeuingStrategy": {"backoffLimitCount": 0},
    }


def test_gates_are_added_and_overrides_replace_whole_sections() -> None:
    made = configuration(
        feature_gates={"SomeGate": True}, overrides={"controller": {}, "fairSharing": {"x": 1}}
    )
    assert made["featureGates"] == {"VisibilityOnDemand": False, "SomeGate": True}
    assert made["controller"] == {}
    assert made["fairSharing"] == {"x": 1}


def test_its_variables_name_a_kueue(tmp_path: Path) -> None:
    binary = tmp_path / "manager"
    binary.touch(mode=0o755)
    source = kueue_manager.from_environment(
        {"LWS_KUEUE_KUEUE_BIN": str(binary), "LWS_KUEUE_KUEUE_MANIFESTS": str(tmp_path)}
    )
    assert source == manager.Source(binary=binary, manifests=tmp_path)
    assert kueue_manager.from_environment({}) is None


def test_half_a_kueue_is_never_replaced_silently() -> None:
    complaint = "set both of LWS_KUEUE_KUEUE_BIN and LWS_KUEUE_KUEUE_MANIFESTS"
    with pytest.raises(sandbox.SandboxError, match=complaint):
        kueue_manager.from_environment({"LWS_KUEUE_KUEUE_BIN": "/bin/sh"})
