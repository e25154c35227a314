"""What a quiet tenant feels of a hostile one: `python -m tools.bench.tenant [ROUNDS]`.

A set is scaled from one group to two and back, again and again, while somebody does harm in
another namespace. Printed are the seconds from the edit to the last release, whose seconds they
were, and the longest time between two renewals of the controller's Lease.
"""

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import audit, client, kueue

from tests.kit.live import harness, hostile, quiet

ROUNDS: Final = 10
HOSTILE: Final = "hostile"


def main(rounds: int = ROUNDS) -> None:
    """Measure on a sandbox of its own and print what came of it."""
    with sandbox.open(options=sandbox.Options()) as cluster, kueue.start(cluster) as info:
        print(f"{info}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        harness.install(cluster)
        with _controller(cluster) as controller:
            tenant = quiet.Quiet(cluster, harness.make_namespace(cluster, "quiet"))
            tenant.settle_in()
            hostile.let_in(cluster, HOSTILE)
            _measure(tenant, "nobody", rounds)
            for deed in hostile.DEEDS:
                with hostile.acting(cluster, HOSTILE, deed):
                    _measure(tenant, deed, rounds)
                if not controller.running:
                    sys.exit(f"the controller has ended:\n{controller.tail()}")
                hostile.undo(cluster, HOSTILE)
                # Where it was given up this has not been waited for.
                tenant.shrinks()


@contextmanager
def _controller(cluster: sandbox.Sandbox) -> Iterator[harness.ControllerProcess]:
    with tempfile.TemporaryDirectory() as folder:
        process = harness.ControllerProcess(
            kubeconfig=cluster.service_account_kubeconfig(*harness.SERVICE_ACCOUNT),
            log=Path(folder) / "controller.log",
            arguments=quiet.ELECTED,
        )
        process.start()
        try:
            yield process
        finally:
            process.kill()


def _measure(tenant: quiet.Quiet, beside: str, rounds: int) -> None:
    since = audit.position(tenant.cluster)
    found: list[quiet.Growth] = []
    try:
        for _ in range(rounds):
            found.append(tenant.grows(beside=HOSTILE))
            tenant.shrinks()
    except client.WaitTimeoutError as error:
        print(f"beside {beside}, given up after {len(found)} rounds: {str(error).splitlines()[0]}")
    if not found:
        return
    gaps = quiet.renewals(audit.requests(tenant.cluster, since=since))
    print(f"beside {beside}, load {os.getloadavg()[0]:.1f}:", flush=True)
    _print("in all", [one.seconds for one in found])
    for who in sorted({who for one in found for who in one.parts}):
        _print(who, [one.parts.get(who, 0.0) for one in found])
    others = [one.others for one in found]
    print(f"  requests for the other one before one of ours: {max(others)} at most")
    print(f"  the Lease was renewed after {max(gaps, default=0.0):.2f} s at most", flush=True)


def _print(what: str, seconds: list[float]) -> None:
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    print(f"  {what:<14} min {low:6.2f} s, median {middle:6.2f} s, max {high:6.2f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
