"""What is told of a refusal: the field and what is wrong with it, and not what stands there."""

import json

import pytest

from lws_kueue.runtime import error_text

SECRET = "hunter2"

TOLD = {
    "a text": (
        f'Pod "p-0" is invalid: spec.containers[0].env[0].name: Invalid value: "{SECRET}": not'
        " a valid name",
        'Pod "p-0" is invalid: spec.containers[0].env[0].name: Invalid value: not a valid name',
    ),
    "a text with quotation marks": (
        f'spec.a: Invalid value: "x\\"{SECRET}\\": y": no',
        "spec.a: Invalid value: no",
    ),
    "an object": (
        f'ControllerRevision "r" is invalid: data: Invalid value: {{"a":{{"b":"}}{SECRET}"}}}}:'
        " field is immutable",
        'ControllerRevision "r" is invalid: data: Invalid value: field is immutable',
    ),
    "a structure of Go": (
        f'spec.a: Invalid value: core.EnvVar{{Value:"{SECRET}", From:(*core.X)(nil)}}: no',
        "spec.a: Invalid value: no",
    ),
    "several fields": (
        f'StatefulSet.apps "s" is invalid: [spec.a: Invalid value: "{SECRET}": no, spec.b: Required'
        f' value, spec.c: Duplicate value: "{SECRET}", spec.d: Not found: "weights"]',
        'StatefulSet.apps "s" is invalid: [spec.a: Invalid value: no, spec.b: Required value,'
        ' spec.c: Duplicate value, spec.d: Not found: "weights"]',
    ),
    "a choice": (
        f'spec.restartPolicy: Unsupported value: "{SECRET}": supported values: "Always", "Never"',
        'spec.restartPolicy: Unsupported value: supported values: "Always", "Never"',
    ),
    "a number": (
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
    ),
    "a difference of pods": (
        'Pod "p-0" is invalid: spec: Forbidden: pod updates may not change fields other than'
        f' `spec.containers[*].image`\n  core.PodSpec{{\n- \tValue: "{SECRET}",\n+ \tValue: "x",\n',
        'Pod "p-0" is invalid: spec: Forbidden: pod updates may not change fields other than'
        " `spec.containers[*].image`",
    ),
    "a policy": (
        "pods \"p-0\" is forbidden: ValidatingAdmissionPolicy 'x' with binding 'x' denied request:"
        ' spec: Forbidden: images are "registry.example"\nSee the handbook',
        "pods \"p-0\" is forbidden: ValidatingAdmissionPolicy 'x' with binding 'x' denied request:"
        ' spec: Forbidden: images are "registry.example"\nSee the handbook',
    ),
    "a quota": (
        'pods "p-0" is forbidden: exceeded quota: q, requested: cpu=8, used: cpu=1, limited: cpu=4',
        'pods "p-0" is forbidden: exceeded quota: q, requested: cpu=8, used: cpu=1, limited: cpu=4',
    ),
    "a name that is taken": ('pods "p-0" already exists', 'pods "p-0" already exists'),
}


@pytest.mark.parametrize("case", TOLD)
def test_the_field_and_the_reason_are_told_and_the_value_is_not(case: str) -> None:
    said, told = TOLD[case]
    assert error_text.without_values(said) == told
    assert SECRET not in told


@pytest.mark.parametrize("cut", range(0, 60, 3))
def test_a_message_that_was_cut_off_tells_no_value(cut: int) -> None:
    for value in (json.dumps({"password": SECRET, "more": [1, {"a": "b"}]}), f'"{SECRET}"'):
        said = f"spec.a: Invalid value: {value}: no"[: 23 + cut]
        assert SECRET not in error_text.without_values(said)
