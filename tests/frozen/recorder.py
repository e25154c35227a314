"""What decisions come to and what users are told, written down so that two trees can be compared.

``pytest tests --record FILE`` writes, for every test that takes no examples at random, the plans
that were decided in it, and all texts that any of them made: events, conditions, refusals. Plans
are told by a fingerprint of what they write and say, so the names of modules and types do not show;
texts are told with their numbers and hashes left out, which say who was meant and not what.

``python -m tests.frozen OLD NEW`` compares two such files; ``recording.json`` is the last one that
was taken for right.
"""

import dataclasses
import functools
import hashlib
import importlib
import json
import pkgutil
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lws_kueue_lab
import pytest

import lws_kueue
from lws_kueue.api import actions, lws, reasons
from lws_kueue.controller import decide


def plain(value: object) -> object:
    """Return a value as JSON with an order of its own, without the names of types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # What does not count when two are compared is neither written nor said.
        fields = (f for f in dataclasses.fields(value) if f.compare)
        pairs = {f.name: plain(getattr(value, f.name)) for f in fields}
        return {name: each for name, each in pairs.items() if each not in (None, "", [], {}, False)}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((plain(each) for each in value), key=_text)
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def of_plan(plan: actions.Plan) -> object:
    """Return what a plan does and says. Its chains run beside each other, so they have no order."""
    return {
        "prepare": plain(plan.prepare),
        "chains": sorted((plain(chain) for chain in plan.chains), key=_text),
        "status": plain(plan.status),
        "finish": plain(plan.finish),
        "warnings": sorted({_text(plain(each)) for each in plan.warnings}),
        "recheck_after": plan.recheck_after,
        "held": sorted({_text(plain(each)) for each in plan.held}),
    }


def fingerprint(value: object) -> str:
    """Return a short name for a value of JSON."""
    return hashlib.sha256(_text(value).encode()).hexdigest()[:16]


def general(text: str) -> str:
    """Return a text without its numbers, hashes and folders of temporary files."""
    text = re.sub(r"/tmp/\S*/", "", text)
    return re.sub(r"[0-9a-f]*\d[0-9a-f]*", "#", text)


def texts_of(plan: actions.Plan) -> set[str]:
    """Return the texts of a plan: warnings, events of its writes, and conditions."""
    found: set[str] = set()

    def look(value: object) -> None:
        if isinstance(value, dict):
            reason, message = value.get("reason"), value.get("message")
            if isinstance(reason, str) and isinstance(message, str):
                found.add(f"{value.get('type', '')} {reason}: {message}")
            for each in value.values():
                look(each)
        elif isinstance(value, list):
            for each in value:
                look(each)

    look(plain(plan))
    return found


class Recorder:
    """Writes down what the tests bring about."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._test = ""
        self._plans: dict[str, list[str]] = {}
        self._texts: set[str] = set()
        self._watch(decide, "decide", self._decided)
        self._watch(actions.Event, "__init__", self._said)
        self._watch(lws.Condition, "__init__", self._said)
        self._watch(reasons.Reason, "__init__", self._explained)
        for refusal in _refusals():
            self._watch(refusal, "__init__", self._refused)

    def _watch(self, holder: Any, name: str, seen: Callable[[Any, Any], None]) -> None:
        original = getattr(holder, name)

        @functools.wraps(original)
        def watched(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            if self._test:
                seen(args[0] if args else None, result)
            return result

        setattr(holder, name, watched)

    def _decided(self, _seen: Any, plan: Any) -> None:
        self._plans.setdefault(self._test, []).append(fingerprint(of_plan(plan)))
        self._texts |= {general(text) for text in texts_of(plan)}

    def _said(self, said: Any, _none: Any) -> None:
        self._texts.add(general(f"{said.type} {said.reason}: {said.message}"))

    def _explained(self, reason: Any, _none: Any) -> None:
        if reason.warns:
            self._texts.add(general(f"Warning {reason.code}: {reason.message}"))

    def _refused(self, error: Any, _none: Any) -> None:
        self._texts.add(general(str(error)))

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Leave out the tests whose examples are random."""
        random = [i for i in items if hasattr(getattr(i, "function", None), "hypothesis")]
        config.hook.pytest_deselected(items=random)
        items[:] = [item for item in items if item not in set(random)]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Any:
        """Write down what a test brings about."""
        self._test = item.name
        try:
            return (yield)
        finally:
            self._test = ""

    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        recording = {
            "plans": {test: fingerprint(plans) for test, plans in self._plans.items()},
            "texts": sorted(self._texts),
        }
        self._file.write_text(json.dumps(recording, indent=1, sort_keys=True) + "\n")


def _refusals() -> list[type[BaseException]]:
    """Return the errors that the packages define."""
    found: set[type[BaseException]] = set()
    for package in (lws_kueue, lws_kueue_lab):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.endswith("__main__"):
                continue
            for value in vars(importlib.import_module(module.name)).values():
                refuses = isinstance(value, type) and issubclass(value, Exception)
                if refuses and value.__module__.startswith("lws_kueue"):
                    found.add(value)
    return sorted(found, key=lambda each: each.__qualname__)
