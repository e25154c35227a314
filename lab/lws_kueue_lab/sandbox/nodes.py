"""The nodes of a sandbox: names, capacity and the labels of their place in the data centre."""

import itertools
import math
from typing import Any

from lws_kueue_lab.sandbox import cluster


def build(options: cluster.Options) -> list[dict[str, Any]]:
    """The Node objects of a cluster, `node-0` first, without status but for their resources."""
    places = _places(options)
    return [
        _node(
            index,
            capacity=dict(options.capacity),
            labels=place
            | (dict(options.node_labels[index]) if index < len(options.node_labels) else {}),
        )
        for index, place in enumerate(places)
    ]


def _places(options: cluster.Options) -> list[dict[str, str]]:
    """The block and rack of every node; racks are filled one after the other."""
    topology = options.topology
    if topology is None:
        return [{} for _ in range(options.nodes)]
    racks = list(itertools.product(range(topology.blocks), range(topology.racks)))
    if topology.hosts is not None:
        hosts, count = topology.hosts, topology.hosts * len(racks)
    else:
        hosts, count = math.ceil(options.nodes / len(racks)), options.nodes
    places = []
    for index in range(count):
        block, rack = racks[index // hosts]
        # Rack names are unique in the cluster, so that a rack alone identifies a domain.
        places.append(
            {
                cluster.BLOCK_LABEL: f"block-{block}",
                cluster.RACK_LABEL: f"rack-{block}-{rack}",
            }
        )
    return places


def _node(index: int, *, capacity: dict[str, str], labels: dict[str, str]) -> dict[str, Any]:
    name = f"node-{index}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                cluster.HOSTNAME_LABEL: name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "type": "kwok",
                **labels,
            },
            # kwok claims it, as it does in clusters that also have real nodes.
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
        "status": {"capacity": capacity, "allocatable": capacity},
    }
