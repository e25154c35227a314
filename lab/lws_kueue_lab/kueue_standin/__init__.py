"""A small stand-in for Kueue, for sandboxes that have none (kueue-contract 2).

It speaks the Workload contract honestly: quota by flavor, priority and age, topology
assignments, eviction requests that wait for the job side. It marks pods and finalizes Workloads
as Kueue's pod integration does, but makes no Workloads for pods. It knows no cohorts, no fair
sharing, no partial admission, no elastic jobs, no MultiKueue, and it is never used beside a real
Kueue.

`decide` is pure and says what to write; `run` watches and writes; `start` runs it as a child
process of a sandbox's user.
"""

from lws_kueue_lab.kueue_standin.installation import ForeignKueueError, install
from lws_kueue_lab.kueue_standin.process import start

__all__ = ["ForeignKueueError", "install", "start"]
