"""docs/reference.md has a row for every reason, event and condition that the code knows."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import lws_kueue
from tools.reference import codes, document

PACKAGE: Final = Path(lws_kueue.__file__).parent
# Where what is told is decided.
ROOMS: Final = ("controller", "dispatch", "workload", "tas")
WORD: Final = re.compile(r"[A-Z][a-z]+(?:[A-Z]?[a-z]+)*")

# Words of the same form that are told to nobody: each with what it is.
OTHERS: Final = {
    "kinds of objects": """
        AdmissionCheck AppWrapper ControllerRevision Deployment Job JobSet Lease MultiKueueConfig
        PaddleJob PersistentVolumeClaim Pod PodGroup PodTemplateSpec PriorityClass RayCluster RayJob
        RayService PyTorchJob Service SparkApplication StatefulSet TrainJob Workload
        WorkloadPriorityClass
    """,
    "values of fields, and conditions of others that are read": """
        Active BlockedOnPreemptionGates ClusterQueueDoesNotExist Deactivated
        DeactivatedDueToMaximumExecutionTimeExceeded DeactivationTarget Default Equal Evicted
        FailedToStart False Finished Foreground Hold Insufficient LeaderExcluded LeaderReady
        NoSchedule None OutOfSync OwnerNotFound Parallel Preempted NodeFailures Ready
        RecreateGroupAfterStart Rejected Retry RollingUpdate Running Shared True UniquePerReplica
        Warn
    """,
    "what an AdmissionCheck of ours says (docs/configuration.md)": """
        BadConfig NoUsableClusters SomeActiveClusters
    """,
    "values of our settings": "AllAtOnce ConfigOrder Incremental Spread",
    "conditions and reasons of pods, as the API server knows them": """
        ContainersReady PodScheduled SchedulingGated
    """,
    "types of events": "Normal Warning",
    "Python's own: type variables, forward references, titles": """
        Attempts Bounds ClaimRetentionPolicy Kueue Load Observed PodGroups RemoteSet RevisionSpec
        States Workers
    """,
    "parts of composed words": "Invalid NotFound",
}

# Reasons that are put together from two words: where, and of what.
COMPOSED: Final = {
    "Invalid": ("Pod", "StatefulSet", "Service", "ControllerRevision"),
    "AdmissionCheck": ("Pending", "Retry", "Rejected"),
}
NOT_FOUND: Final = ("WorkloadPriorityClass", "PriorityClass")


def words() -> Iterator[tuple[str, str]]:
    """Return every word in the code that may be a reason or a condition, and where it stands."""
    for room in ROOMS:
        for file in sorted((PACKAGE / room).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                    continue
                if WORD.fullmatch(node.value):
                    yield node.value, f"{file.relative_to(PACKAGE)}:{node.lineno}"


def listed() -> set[str]:
    conditions = {word for each in codes.CONDITIONS for word in (each.name, *each.reasons)}
    return conditions | {code.name for code in codes.CODES}


def composed() -> set[str]:
    whole = {first + second for first, seconds in COMPOSED.items() for second in seconds}
    return whole | {f"{kind}NotFound" for kind in NOT_FOUND}


def test_there_is_no_reason_event_or_condition_without_a_row() -> None:
    known = listed() | {word for those in OTHERS.values() for word in those.split()}
    assert {word: place for word, place in words() if word not in known} == {}
    assert composed() <= listed()


def test_there_is_no_row_that_nobody_tells() -> None:
    assert listed() - {word for word, _ in words()} - composed() == set()


def test_no_word_is_kept_out_of_the_reference_that_the_code_does_not_have() -> None:
    found = {word for word, _ in words()}
    assert {word for those in OTHERS.values() for word in those.split()} - found == set()


def test_a_code_has_one_row() -> None:
    names = [code.name for code in codes.CODES]
    assert len(names) == len(set(names))


def test_the_page_is_the_one_that_the_generator_writes() -> None:
    assert document.PLACE.read_text(encoding="utf-8") == document.text(), "run `make reference`"
