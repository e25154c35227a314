"""The schemas of what tells a manager of its worker clusters.

The stand-in dispatches nothing by them; they are there for who does.
"""

from typing import Any

from lws_kueue_lab.kueue_standin import schema_parts as parts

Json = dict[str, Any]


def config() -> Json:
    """The definition of MultiKueueConfig."""
    clusters = parts.array(parts.text(256), 20, minItems=1) | {
        "x-kubernetes-validations": [
            parts.rule(
                "size(self.filter(i, size(self.filter(j, j == i)) > 1)) == 0", "must be unique"
            )
        ]
    }
    spec = parts.obj(
        "clusters", clusters=clusters, quotaManagement=parts.choice("Manual", "Automated")
    )
    return parts.definition(
        "MultiKueueConfig",
        schema=parts.obj(spec=spec),
        short=["mkconf"],
        namespaced=False,
        status=False,
    )


def cluster() -> Json:
    """The definition of MultiKueueCluster."""
    location = parts.obj(
        "location",
        location=parts.text(256, minLength=1),
        locationType=parts.choice("Secret", "Path", default="Secret"),
    )
    profile = parts.obj("name", name=parts.text(256, minLength=1))
    source = parts.obj(
        kubeConfig=location,
        clusterProfileRef=profile,
        rules=[
            parts.rule(
                "has(self.kubeConfig) != has(self.clusterProfileRef)",
                "exactly one of kubeConfig and clusterProfileRef has to be set",
            )
        ],
    )
    return parts.definition(
        "MultiKueueCluster",
        schema=parts.obj(
            spec=parts.obj("clusterSource", clusterSource=source),
            status=parts.obj(conditions=parts.CONDITIONS),
        ),
        short=["mkc"],
        namespaced=False,
        columns=[("Connected", "string", ".status.conditions[?(@.type=='Active')].status")],
    )
