"""A stand-in for Kueue, for sandboxes that have none.

It gives quota of flavors by priority and age, preempts within a ClusterQueue, assigns and replaces
topology domains, waits for admission checks, and asks for evictions, which wait for the job side as
with Kueue. It marks pods and finalizes Workloads as Kueue's pod integration does. README.md beside
this package lists all that it does, and what it does not. It is never used beside a real Kueue.

`decide` is pure and says what to write; `run` watches and writes; `start` runs it as a child
process of a sandbox's user.
"""

from lws_kueue_lab.kueue_standin.installation import ForeignKueueError, install
from lws_kueue_lab.kueue_standin.process import start

__all__ = ["ForeignKueueError", "install", "start"]
