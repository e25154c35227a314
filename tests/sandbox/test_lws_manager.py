"""What the manager of the LWS project is given before it starts, and who names it."""

from pathlib import Path

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import lws_manager, manager


def test_it_listens_on_loopback_alone_with_the_certificate_that_it_is_given() -> None:
    made = lws_manager.configuration(
        manager.Endpoints(
            webhook_port=1,
            health_port=2,
            certificate_directory=Path("/certificates"),
            namespace="lws-system",
            webhook_service="lws-webhook-service",
            webhook_secret="certificate",
        )
    )
    assert made["webhook"] == {"host": "127.0.0.1", "port": 1, "certDir": "/certificates"}
    assert made["health"] == {"healthProbeBindAddress": "127.0.0.1:2"}
    assert made["metrics"] == {"bindAddress": "0"}
    assert made["internalCertManagement"] == {"enable": False}


def test_its_variables_name_a_manager(tmp_path: Path) -> None:
    binary = tmp_path / "manager"
    binary.touch(mode=0o755)
    source = lws_manager.from_environment(
        {"LWS_KUEUE_LWS_BIN": str(binary), "LWS_KUEUE_LWS_MANIFESTS": str(tmp_path)}
    )
    assert source == manager.Source(binary=binary, manifests=tmp_path)
    assert lws_manager.from_environment({}) is None


def test_half_a_manager_is_an_error() -> None:
    complaint = "set both of LWS_KUEUE_LWS_BIN and LWS_KUEUE_LWS_MANIFESTS"
    with pytest.raises(sandbox.SandboxError, match=complaint):
        lws_manager.from_environment({"LWS_KUEUE_LWS_MANIFESTS": "/"})
