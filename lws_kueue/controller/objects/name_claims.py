"""Whose an object is that has a name which a set needs for one of its own.

Names of children follow from those of sets (lws-contract 3), so two sets of a namespace can need
the same one: the leaders of a set ``model-1`` and the workers of group 1 of a set ``model`` both
belong to a StatefulSet ``model-1``, and their Services have that name as well. Whoever came first
keeps it.
"""

from lws_kueue.api import facts, names
from lws_kueue.controller.observe import ordinals


def holder(taken: facts.Meta) -> str:
    """Return in words whose an object is."""
    owner = taken.controller
    if owner is None:
        return "has no owner"
    if owner.kind == names.LWS_KIND:
        return f"belongs to {names.LWS_KIND} {owner.name}"
    if (other := rival(taken)) is not None:
        _, index = ordinals.parent_and_ordinal(owner.name)
        return f"belongs to group {index} of {names.LWS_KIND} {other}"
    return f"belongs to {owner.kind} {owner.name}"


def rival(taken: facts.Meta) -> str | None:
    """Return the name of the set whose an object is, None where it is no set's."""
    owner = taken.controller
    if owner is None:
        return None
    if owner.kind == names.LWS_KIND:
        return owner.name
    # Leader pods own the objects of their group, and have the name of their set and their index.
    parent, index = ordinals.parent_and_ordinal(owner.name)
    of_set = taken.labels.get(names.SET_NAME)
    return parent if owner.kind == "Pod" and index >= 0 and parent == of_set else None


def remedy(taken: facts.Meta) -> str:
    """Return what to do so that the name becomes free, as a sentence."""
    other = rival(taken)
    if other is None:
        return "Delete or rename it, or give this set another name"
    return (
        f"Give this set another name; it comes up by itself when {names.LWS_KIND} {other} no longer"
        " needs the name"
    )
