"""What the alerts and the dashboard of `deploy/` ask Prometheus for."""

import json
import re
from pathlib import Path
from typing import Any, Final

import yaml

DEPLOY: Final = Path(__file__).resolve().parents[2] / "deploy"
_METRIC: Final = re.compile(
    r"\b(?:lws_kueue|controller_runtime|workqueue|rest_client|leader_election)_[a-z_]+"
)
# What a histogram is asked by.
_PART: Final = re.compile(r"_(?:bucket|count|sum)$")


def rules() -> list[dict[str, Any]]:
    """Return the alerts."""
    content = yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text(encoding="utf-8"))
    return [rule for group in content["spec"]["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    text = (DEPLOY / "grafana" / "lws-kueue.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def expressions() -> list[str]:
    """Return all that is asked, of both."""
    variables = [one["query"] for one in dashboard()["templating"]["list"]]
    panels = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    return [*(rule["expr"] for rule in rules()), *panels, *variables]


def asked() -> set[str]:
    """Return the names of all metrics that are asked for, as they are declared."""
    return {_PART.sub("", name) for one in expressions() for name in _METRIC.findall(one)}


def declared(text: str) -> set[str]:
    """Return the names of the metrics that a controller serves, from what it answers."""
    return set(re.findall(r"(?m)^# TYPE (\S+) ", text))
