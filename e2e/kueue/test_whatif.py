"""What `kubectl lws whatif` says is what a real Kueue then does, on random clusters side by side.

With LWS_KUEUE_RECORD_WHATIF=1 the rows that tests without a Kueue go by are written anew, as many
as LWS_KUEUE_WHATIF_CLUSTERS says of each kind.
"""

import contextlib
import os

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import kueue, kueue_settings

from e2e.conftest import OpenCluster
from tests.kit.whatif import live, recorded

COUNT = int(os.environ.get("LWS_KUEUE_WHATIF_CLUSTERS", "10"))
# So many of each kind side by side: Kueue gets no slower by queues of which no head waits.
BATCH = 40
# Twenty requests a second, as Kueue has it, would be the measure of all things here.
FAST = kueue_settings.KueueSettings(overrides={"clientConnection": {"qps": 500, "burst": 1000}})


def test_a_real_kueue_admits_the_groups_that_whatif_tells(fresh_cluster: OpenCluster) -> None:
    opened = fresh_cluster(sandbox.Options(nodes=1))
    rows: list[recorded.Row] = []
    with (
        kueue.start(opened, mode="auto", settings=FAST) as info,
        contextlib.closing(live.Court(opened)) as court,
    ):
        if info.kind == "standin":
            pytest.skip("whatif is judged by a real Kueue: set LWS_KUEUE_KUEUE_BIN")
        for start in range(0, COUNT, BATCH):
            rows += court.play(range(start, min(start + BATCH, COUNT)))
            if os.environ.get("LWS_KUEUE_RECORD_WHATIF"):
                recorded.keep(rows)
    for kind, found in recorded.by_kind(rows).items():
        assert len(found) > 0.9 * COUNT
        right, wrong = recorded.share(found)
        # Among few, one may be wrong.
        assert right >= kind.least or len(wrong) <= 1, (kind.name, wrong)
