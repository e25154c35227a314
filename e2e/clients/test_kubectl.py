"""What people do to a set with kubectl (GIT-01 to GIT-14)."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from lws_kueue.api import names
from tests.kit.live import running
from tests.kit.live.kubectl import refused
from tests.kit.live.running import APP, NAME, NEW_IMAGE, Running

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
SET = f"leaderworkersets.{names.LWS_GROUP}/{NAME}"
PRUNED = (
    "--prune-allowlist=apps/v1/StatefulSet",
    "--prune-allowlist=core/v1/Service",
    "--prune-allowlist=core/v1/Pod",
    f"--prune-allowlist={names.LWS_API_VERSION}/{names.LWS_KIND}",
)


def with_image(given: dict[str, Any], image: str) -> dict[str, Any]:
    """The same manifest with another image."""
    changed = copy.deepcopy(given)
    template = changed["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    template["spec"]["containers"][0]["image"] = image
    return changed


@pytest.mark.row("GIT-01")
def test_applying_the_same_file_again_changes_nothing(served: Running) -> None:
    generation = served.get()["metadata"]["generation"]
    before = running.writes_of(served.cluster, served.namespace)
    assert "unchanged" in served.kubectl("apply", "-f", str(served.file))
    assert served.kubectl("diff", "-f", str(served.file)) == ""
    served.goes_on()
    assert served.get()["metadata"]["generation"] == generation
    assert running.writes_of(served.cluster, served.namespace) == before


@pytest.mark.row("GIT-02")
def test_applying_a_new_image_rolls_it_out(served: Running) -> None:
    served.write(with_image(served.given, NEW_IMAGE))
    served.kubectl("apply", "-f", str(served.file))
    served.rolls_to(NEW_IMAGE)
    assert served.warnings() == []


@pytest.mark.row("GIT-03", "P1")
def test_applying_with_prune_deletes_nothing_of_an_unchanged_set(served: Running) -> None:
    label = ",".join(f"{key}={value}" for key, value in APP.items())
    for _ in range(2):
        told = served.kubectl("apply", "--prune", "-l", label, *PRUNED, "-f", str(served.file))
        assert "pruned" not in told
        served.goes_on()


@pytest.mark.long
@pytest.mark.row("GIT-04")
def test_replacing_the_set_by_its_file_goes_on(served: Running) -> None:
    served.kubectl("replace", "-f", str(served.file))
    served.goes_on()
    served.write(with_image(served.given, NEW_IMAGE))
    served.kubectl("replace", "-f", str(served.file))
    served.rolls_to(NEW_IMAGE)


@pytest.mark.long
@pytest.mark.row("GIT-05")
def test_replacing_by_force_makes_the_set_anew(served: Running) -> None:
    uid = served.get()["metadata"]["uid"]
    before = dict(served.before)
    served.kubectl("replace", "--force", "-f", str(served.file))
    assert served.get()["metadata"]["uid"] != uid
    served.runs()
    assert served.before.keys() == before.keys()
    assert not before.items() & served.before.items()


@pytest.mark.long
@pytest.mark.row("GIT-06")
def test_editing_and_saving_without_a_change_is_cancelled(served: Running) -> None:
    generation = served.get()["metadata"]["generation"]
    # It says "Edit cancelled, no changes made", and writes nothing.
    assert served.kubectl("edit", SET, environment={"KUBE_EDITOR": "true"}) == ""
    served.goes_on()
    assert served.get()["metadata"]["generation"] == generation


@pytest.mark.long
@pytest.mark.row("GIT-07")
def test_what_is_edited_is_taken(served: Running, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/^  replicas: 2$/  replicas: 3/" "$1"\n')
    editor.chmod(0o755)
    served.kubectl("edit", SET, environment={"KUBE_EDITOR": str(editor)})
    assert served.get()["spec"]["replicas"] == 3
    served.goes_on(groups=3)


@pytest.mark.long
@pytest.mark.row("GIT-08")
def test_scaling_goes_up_and_down_and_the_next_apply_sets_it_back(served: Running) -> None:
    served.kubectl("scale", SET, "--replicas=3")
    served.goes_on(groups=3)
    served.kubectl("scale", SET, "--replicas=1")
    served.goes_on(groups=1)
    served.kubectl("apply", "-f", str(served.file))
    served.goes_on(groups=2)


@pytest.mark.long
@pytest.mark.row("GIT-09")
def test_labels_and_annotations_that_are_overwritten_restart_nothing(served: Running) -> None:
    for value in ("a", "b"):
        served.kubectl("label", SET, f"team={value}", "--overwrite")
        served.kubectl("annotate", SET, f"example.com/note={value}", "--overwrite")
        served.goes_on()
    meta = served.get()["metadata"]
    assert (meta["labels"]["team"], meta["annotations"]["example.com/note"]) == ("b", "b")
    served.kubectl("label", SET, "team-")
    served.kubectl("annotate", SET, "example.com/note-")
    served.goes_on()


@pytest.mark.long
@pytest.mark.row("GIT-10")
def test_what_was_applied_last_can_be_looked_at_and_set(served: Running) -> None:
    shown = yaml.safe_load(served.kubectl("apply", "view-last-applied", SET))
    assert shown["spec"] == served.given["spec"]
    served.kubectl("apply", "set-last-applied", "-f", str(served.file))
    served.goes_on()


@pytest.mark.row("GIT-11")
def test_what_the_server_filled_in_can_be_applied(served: Running) -> None:
    # What `kubectl get -o yaml > file` gives: defaults, status, managedFields, creationTimestamp.
    served.file.write_text(served.kubectl("get", SET, "-o", "yaml", "--show-managed-fields"))
    stored = yaml.safe_load(served.file.read_text())
    assert stored["status"]["replicas"] == 2
    del stored["metadata"]["annotations"][LAST_APPLIED]
    del stored["metadata"]["resourceVersion"]
    del stored["metadata"]["managedFields"]
    served.write(stored)
    served.kubectl("apply", "-f", str(served.file))
    served.goes_on()


@pytest.mark.long
@pytest.mark.row("GIT-12")
def test_null_fields_mean_nothing(served: Running) -> None:
    given = copy.deepcopy(served.given)
    given["metadata"] |= {"creationTimestamp": None, "annotations": None, "generation": None}
    template = given["spec"]["leaderWorkerTemplate"]
    template["leaderTemplate"] = None
    template["restartPolicy"] = None
    template["workerTemplate"]["metadata"]["creationTimestamp"] = None
    template["workerTemplate"]["spec"]["containers"][0]["env"] = None
    given["spec"] |= {"rolloutStrategy": None, "startupPolicy": None, "networkConfig": None}
    given["status"] = {"replicas": None, "conditions": None, "hpaPodSelector": None}
    served.write(given)
    served.kubectl("apply", "--validate=warn", "-f", str(served.file))
    served.goes_on()
    served.kubectl("replace", "--validate=warn", "-f", str(served.file))
    served.goes_on()


@pytest.mark.row("GIT-13")
def test_a_status_in_a_manifest_is_not_believed(served: Running) -> None:
    status = {"replicas": 7, "readyReplicas": 7, "conditions": []}
    for command in ("apply", "replace"):
        served.write({**served.given, "status": status})
        served.kubectl(command, "-f", str(served.file))
        served.goes_on()
        assert served.get()["status"]["replicas"] == 2


@pytest.mark.long
@pytest.mark.row("GIT-14")
def test_a_field_that_does_not_exist_is_refused_by_name(served: Running) -> None:
    given = copy.deepcopy(served.given)
    given["spec"]["leaderWorkerTemplate"]["sizes"] = 3
    served.write(given)
    told = refused(served.cluster, "apply", "-f", str(served.file))
    assert 'unknown field "spec.leaderWorkerTemplate.sizes"' in told
    given["spec"]["leaderWorkerTemplate"].pop("sizes")
    given["spec"]["replicas"] = -1
    served.write(given)
    told = refused(served.cluster, "apply", "-f", str(served.file))
    assert "spec.replicas" in told
    assert json.loads(served.kubectl("get", SET, "-o", "json"))["spec"]["replicas"] == 2
    served.goes_on()
