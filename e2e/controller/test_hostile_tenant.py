"""Beside a hostile tenant a quiet one is served in its turn, and the controller leads on.

How many seconds that takes is measured by `python -m tools.bench.tenant`. What is counted here is
how much the controller does for the other one while the quiet one waits for nobody but it.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import kueue

from e2e.conftest import own_cluster
from tests.kit.live import harness, hostile, quiet

# A giant keeps the control plane busy while it is there, and all that runs beside it waits.
ALONE = "LWS_KUEUE_HOSTILE"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(ALONE not in os.environ, reason=f"needs a machine for itself: {ALONE}=1"),
]

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The two tenants of a cluster of their own, and the controller that serves both."""

    cluster: sandbox.Sandbox
    controller: harness.ControllerProcess
    quiet: quiet.Quiet
    hostile: str

    def lease(self) -> tuple[dict[str, Any], str]:
        """Return what is said of who leads, and since when; and when that was renewed."""
        spec = self.cluster.api.get(*quiet.LEASE, namespace=harness.SERVICE_ACCOUNT[0])["spec"]
        return spec, spec.pop("renewTime")


@pytest.fixture(scope="module")
def neighbours(
    backend: sandbox.Backend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Neighbours]:
    """Two tenants of a cluster of their own."""
    with own_cluster(backend, sandbox.Options()) as own, kueue.start(own):
        if own.audit_log is None:
            pytest.skip("this cluster shows no audit log")
        harness.install(own)
        process = harness.ControllerProcess(
            kubeconfig=own.service_account_kubeconfig(*harness.SERVICE_ACCOUNT),
            log=tmp_path_factory.mktemp("controller") / Path("controller.log"),
            arguments=quiet.ELECTED,
        )
        process.start()
        tenant = quiet.Quiet(own, harness.make_namespace(own, "quiet"))
        tenant.settle_in()
        hostile.let_in(own, "hostile")
        yield Neighbours(own, process, tenant, "hostile")
        process.kill()


@pytest.mark.parametrize("deed", hostile.DEEDS)
def test_a_quiet_tenant_is_served_in_its_turn_beside_a_hostile_one(
    neighbours: Neighbours, deed: str
) -> None:
    leads, renewed = neighbours.lease()
    with hostile.acting(neighbours.cluster, neighbours.hostile, deed):
        for _ in range(ROUNDS):
            growth = neighbours.quiet.grows(beside=neighbours.hostile)
            assert growth.others <= quiet.MOST_OTHERS, growth
            neighbours.quiet.shrinks()
    hostile.undo(neighbours.cluster, neighbours.hostile)
    still, again = neighbours.lease()
    assert still == leads, "the same process leads, and has never stopped to"
    assert again > renewed
    assert neighbours.controller.running, neighbours.controller.tail()
    assert "Traceback" not in neighbours.controller.log.read_text()
