"""The policies that give sets a queue or a priority, and the code, agree."""

import re

from lws_kueue.controller.admission import managed_by
from lws_kueue.install import manifests


def test_the_policies_know_the_same_holders_of_sets_as_the_controller() -> None:
    wanted = {
        f"{group}/{kind}" for group, kinds in managed_by.HELD_BY_KUEUE.items() for kind in kinds
    }
    always = {obj["metadata"]["name"] for obj in manifests.api_objects()}
    policies = [
        obj
        for obj in manifests.api_objects(kueue=True, default_priority_class=True)
        if obj["kind"] == "MutatingAdmissionPolicy"
        and obj["metadata"]["name"].startswith("lws-kueue-default-")
        and obj["metadata"]["name"] not in always
    ]
    assert len(policies) == 2
    for policy in policies:
        (expression,) = (
            condition["expression"]
            for condition in policy["spec"]["matchConditions"]
            if condition["name"] == "not-part-of-something-managed"
        )
        assert set(re.findall(r"'([a-z0-9.-]*/[A-Za-z]+)'", expression)) == wanted
