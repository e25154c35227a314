"""Alerts and dashboard ask for metrics that there are, and each alert has a runbook."""

import re
from pathlib import Path

import pytest
from prometheus_client import exposition

from lws_kueue.manager import cluster_metrics
from lws_kueue.runtime import cache, informer, metrics
from tests.kit import monitoring

RUNBOOKS = Path(__file__).resolve().parents[2] / "docs" / "runbooks.md"


@pytest.fixture
def served() -> set[str]:
    """The metrics of a controller that leads; all of them have a name before they have a value."""

    class Source:
        support = "served"

    source: informer.Informer = Source()  # type: ignore[assignment]
    cluster_metrics.observe(store=cache.Cache(), source=source)
    try:
        text = exposition.generate_latest(metrics.REGISTRY).decode()
    finally:
        cluster_metrics.observe(store=None, source=None)
    return monitoring.declared(text)


def test_alerts_and_dashboard_ask_for_metrics_that_the_controller_serves(
    served: set[str],
) -> None:
    assert len(monitoring.asked()) > 10
    assert monitoring.asked() - served == set()


def test_the_metrics_of_our_own_are_all_looked_at_by_somebody(served: set[str]) -> None:
    own = {name for name in served if name.startswith("lws_kueue_")}
    # What is summed up of all sets is there for whoever has too many of them, and what is said of
    # worker clusters for whoever has switched them on: nothing is dispatched to them yet.
    assert own - monitoring.asked() == {
        "lws_kueue_sets",
        "lws_kueue_groups",
        "lws_kueue_kueue_served",
        "lws_kueue_multikueue_cluster_eligible",
        "lws_kueue_multikueue_cluster_up",
    }


def test_each_alert_has_a_section_in_the_runbooks_and_says_where() -> None:
    headings = re.findall(r"(?m)^## (\S+)$", RUNBOOKS.read_text(encoding="utf-8"))
    assert headings == [rule["alert"] for rule in monitoring.rules()]
    for rule in monitoring.rules():
        place = f"docs/runbooks.md#{rule['alert'].lower()}"
        assert rule["annotations"]["runbook_url"].endswith(place)
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert {"summary", "description"} <= set(rule["annotations"])


def test_the_panels_have_ids_of_their_own_and_one_source_of_data() -> None:
    panels = monitoring.dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {panel["datasource"]["uid"] for panel in panels} == {"${datasource}"}
