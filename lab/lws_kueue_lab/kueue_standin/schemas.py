"""The CustomResourceDefinitions of the parts of kueue.x-k8s.io that the stand-in serves."""

from typing import Any

from lws_kueue_lab.kueue_standin import (
    schema_multikueue,
    schema_parts,
    schema_queues,
    schema_workload,
)

ANNOTATION = schema_parts.ANNOTATION


def definitions() -> list[dict[str, Any]]:
    """Return all definitions."""
    return [
        schema_workload.workload(),
        schema_queues.local_queue(),
        schema_queues.cluster_queue(),
        schema_queues.cohort(),
        schema_queues.resource_flavor(),
        schema_queues.topology(),
        schema_queues.priority_class(),
        schema_queues.admission_check(),
        schema_multikueue.config(),
        schema_multikueue.cluster(),
    ]
