"""What a sandbox is made of, before anything is started."""

import collections
import json
import stat
from pathlib import Path

import pytest
import yaml
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import components, credentials, nodes, stages


def layout(directory: Path, *, audit_log: str | None = "/audit.log") -> components.Layout:
    return components.Layout(
        directory=directory,
        data=directory / "etcd",
        etcd_client="unix://etcd.sock:0",
        etcd_peer="unix://peer.sock:0",
        bind_address="127.0.0.1",
        port=20000,
        audit_log=audit_log,
    )


def test_nodes_fill_rack_after_rack() -> None:
    options = sandbox.Options(nodes=5, topology=sandbox.Topology(blocks=2, racks=2))
    racks = [n["metadata"]["labels"][sandbox.RACK_LABEL] for n in nodes.build(options)]
    assert racks == ["rack-0-0", "rack-0-0", "rack-0-1", "rack-0-1", "rack-1-0"]


def test_hosts_decide_the_number_of_nodes() -> None:
    options = sandbox.Options(nodes=1, topology=sandbox.Topology(blocks=2, racks=3, hosts=4))
    built = nodes.build(options)
    per_rack = collections.Counter(n["metadata"]["labels"][sandbox.RACK_LABEL] for n in built)
    assert len(built) == 24
    assert set(per_rack.values()) == {4}


def test_extra_labels_go_to_the_nodes_in_order() -> None:
    options = sandbox.Options(nodes=3, node_labels=[{"pool": "a"}, {"pool": "b"}])
    pools = [n["metadata"]["labels"].get("pool") for n in nodes.build(options)]
    assert pools == ["a", "b", None]


@pytest.mark.parametrize("bad", [{"nodes": -1}, {"client_qps": 0}, {"client_burst": 0}])
def test_impossible_options_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        sandbox.Options(**bad)  # type: ignore[arg-type]


def test_a_topology_without_racks_is_refused() -> None:
    with pytest.raises(ValueError):
        sandbox.Topology(blocks=1, racks=0)


def test_client_rates_reach_the_components(tmp_path: Path) -> None:
    options = sandbox.Options(client_qps=7, client_burst=11)
    manager = components.controller_manager(layout(tmp_path), options)
    assert {"--kube-api-qps=7", "--kube-api-burst=11"} <= set(manager.arguments)
    components.write_configuration(layout(tmp_path), options, into=tmp_path)
    scheduler = json.loads((tmp_path / "kube-scheduler.json").read_text())
    assert (scheduler["clientConnection"]["qps"], scheduler["clientConnection"]["burst"]) == (7, 11)


def test_an_audit_log_is_written_only_if_asked_for(tmp_path: Path) -> None:
    for audit_log, expected in ((None, False), ("/audit.log", True)):
        made = components.api_server(layout(tmp_path, audit_log=audit_log), sandbox.Options())
        arguments = made.arguments
        assert any(a.startswith("--audit") for a in arguments) is expected


def test_the_audit_log_stays_one_file(tmp_path: Path) -> None:
    made = components.api_server(layout(tmp_path), sandbox.Options())
    (most,) = (a.partition("=")[2] for a in made.arguments if a.startswith("--audit-log-maxsize="))
    assert int(most) > 100_000, "in megabytes; 0 would mean 100"


def test_feature_gates_reach_those_who_know_them(tmp_path: Path) -> None:
    given = sandbox.Options(feature_gates={"B": False, "A": True})
    for options, expected in ((sandbox.Options(), False), (given, True)):
        for made in (
            components.api_server(layout(tmp_path), options),
            components.controller_manager(layout(tmp_path), options),
        ):
            assert ("--feature-gates=A=true,B=false" in made.arguments) is expected


def test_every_stage_is_in_the_configuration_of_kwok(tmp_path: Path) -> None:
    components.write_configuration(layout(tmp_path), sandbox.Options(), into=tmp_path)
    documents = list(yaml.safe_load_all((tmp_path / "kwok.yaml").read_text()))
    assert documents[0]["kind"] == "KwokConfiguration"
    named = [document["metadata"]["name"] for document in documents[1:]]
    assert named == [stage["metadata"]["name"] for stage in stages.all_stages()]
    assert len(set(named)) == len(named)


def test_credentials_are_random_and_private(tmp_path: Path) -> None:
    first, second = (credentials.create(tmp_path / name) for name in "ab")
    assert set(first.tokens.values()).isdisjoint(second.tokens.values())
    first.write_kubeconfigs(server="https://127.0.0.1:1")
    for file in first.directory.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(first.directory.stat().st_mode) == 0o700


def test_the_kubeconfig_back_end_needs_a_file(tmp_path: Path) -> None:
    with (
        pytest.raises(sandbox.SandboxError, match="needs a kubeconfig"),
        sandbox.open("kubeconfig"),
    ):
        pass
    with (
        pytest.raises(sandbox.SandboxError, match="no kubeconfig at"),
        sandbox.open("kubeconfig", kubeconfig=tmp_path / "absent"),
    ):
        pass
    with (
        pytest.raises(sandbox.SandboxError, match="makes its own"),
        sandbox.open("process", kubeconfig=tmp_path / "absent"),
    ):
        pass
