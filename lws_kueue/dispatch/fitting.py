"""Whether an admission was given for what a group is made from (INV-9).

On the manager a group is asked for without its topology: its pods have no nodes there.
"""

from dataclasses import replace

from lws_kueue.api import kueue
from lws_kueue.dispatch import places
from lws_kueue.workload import recreate, shape


def asked(view: places.View) -> bool:
    """Whether the manager's Workload asks for what the group is to be made from.

    While it does not, it is about to be rewritten or made anew, and nothing new rests on it.
    """
    content = view.group.content
    return content is not None and _misfit(view.workload, content, placed=False) is None


def misfit(view: places.View, offer: kueue.Workload) -> str | None:
    """Return in words what of the group a worker's Workload was not made for, None if it fits."""
    content = view.group.content
    return None if content is None else _misfit(offer, content, placed=True)


def _misfit(workload: kueue.Workload, content: recreate.Content, *, placed: bool) -> str | None:
    if workload.unreadable:
        return f"what Kueue wrote ({workload.unreadable})"
    if content.shape is None:
        return "a topology request that cannot be read"
    wanted = content.shape
    if not placed:
        wanted = tuple(replace(one, topology={}) for one in wanted)
    return shape.difference(workload, wanted, flavors={})
