"""Worker clusters: who they are, whether they can be reached, and what is said of them.

There is nothing of it unless ``lwsKueue.multiKueue.enabled`` is set. One `Connection` for each
cluster that a MultiKueueConfig of one of our AdmissionChecks names, with a client and a pace of its
own, so that a slow one holds up nobody else; `Connections` starts and ends them and writes the
conditions.
"""
