"""Groups of one set on several clusters, pure: who is offered, who is chosen, what runs and stops.

``docs/multikueue.md`` tells the protocol, ``plan.py`` is the place to start reading. Facts about
the manager's cluster and about each worker go in (``observed``), guarded writes to all of them come
out.

What holds at any time, by which rule (the invariants of the protocol):

INV-1  At most one cluster has released pods of a group. Pods are released only where there are both
       an admitted Workload and a set; a set is made only in the cluster that is stored in
       ``status.clusterName``, and that is taken back only after all clusters are confirmed to have
       stopped, or have been lost for longer than the time-out (``running``, ``stopping``).
INV-2  Pods of a set in a worker are born gated and wait for the Workload beside it
       (``remote_objects``).
INV-3  The manager's quota goes last: the Workload there is cleared or removed only when the group
       has stopped everywhere (``plan``).
INV-4  A worker's Workload is removed after the last pod on its quota has ended (``stopping``).
INV-5  A set is made only when no other cluster that answers has anything of the group
       (``running``).
INV-6  Only objects with our origin and our manager's UID are written (``identity.is_ours``).
INV-7  What belongs to no group that has its place there is stopped and removed (``plan``).
INV-8  One group's writes depend on its own objects alone (``places``); but for the order in which
       clusters are offered, and how many groups a drain moves at a time.
INV-9  A group is offered, and a set is made, only for pods that both admissions were given for
       (``fitting``).
"""
