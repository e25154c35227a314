"""Labels, selectors, affinity, taints and tolerations: does this fit there?"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

Object = Mapping[str, Any]
Labels = Mapping[str, str]


def selects(selector: Object | None, labels: Labels) -> bool:
    """Whether a LabelSelector selects ``labels``; none selects nothing, an empty one all."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _matches(expression, labels) for expression in selector.get("matchExpressions") or ()
    )


def _matches(expression: Object, labels: Labels) -> bool:
    operator = expression["operator"]
    value = labels.get(expression["key"])
    values: Sequence[str] = expression.get("values") or ()
    if operator == "In":
        return value is not None and value in values
    if operator == "NotIn":
        return value is None or value not in values
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    # Gt and Lt compare whole numbers; anything else does not match.
    try:
        left, right = int(value or ""), int(values[0])
    except (ValueError, IndexError):
        return False
    return left > right if operator == "Gt" else left < right


def node_affinity(spec: Object, labels: Labels) -> bool:
    """Whether node selector and required node affinity of a pod accept these node labels."""
    selector = spec.get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in selector.items()):
        return False
    terms = _required_terms(spec)
    return terms is None or any(_term_matches(term, labels) for term in terms)


def flavor_affinity(spec: Object, flavor_labels: Labels) -> bool:
    """Like `node_affinity`, but only keys that the flavor defines are looked at.

    The other keys may be satisfied by the nodes behind the flavor. A term of which nothing is
    left accepts every flavor, because terms are alternatives.
    """
    selector = spec.get("nodeSelector") or {}
    if any(key in flavor_labels and flavor_labels[key] != v for key, v in selector.items()):
        return False
    terms = _required_terms(spec)
    if terms is None:
        return True
    reduced = [_known_expressions(term, flavor_labels) for term in terms]
    if not all(reduced):
        return True
    return any(all(_matches(e, flavor_labels) for e in term) for term in reduced)


def _required_terms(spec: Object) -> list[Object] | None:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return None if required is None else list(required.get("nodeSelectorTerms") or ())


def _known_expressions(term: Object, keys: Collection[str]) -> list[Object]:
    return [e for e in term.get("matchExpressions") or () if e["key"] in keys]


def _term_matches(term: Object, labels: Labels) -> bool:
    expressions = term.get("matchExpressions") or ()
    fields = term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    # metadata.name is the only field that a node can be selected by.
    name = {"metadata.name": labels.get("kubernetes.io/hostname", "")}
    return all(_matches(e, labels) for e in expressions) and all(_matches(f, name) for f in fields)


def describe_taint(taint: Object) -> str:
    """A taint the way Kueue prints it in messages."""
    return f"{{{taint['key']} {taint.get('value', '')} {taint.get('effect', '')} <nil>}}"
