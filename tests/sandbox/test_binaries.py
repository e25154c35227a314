"""Building the programs of the sandbox, with a `go` that only pretends."""

import os
import platform
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import binaries, engine

ROOT = Path(__file__).parents[2]

# Makes the files that `go build -o DIR/ PACKAGE...` would, slowly enough to be overtaken.
FAKE_GO = """\
#!{python}
import os, pathlib, sys, time
with open(os.environ["FAKE_GO_CALLS"], "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
if sys.argv[1] == "version":
    print(os.environ.get("FAKE_GO_VERSION", "go version go1.99.0 linux/amd64"))
    sys.exit(0)
print("example.com/compiled", file=sys.stderr, flush=True)
time.sleep(float(os.environ.get("FAKE_GO_SECONDS", "0")))
if os.environ.get("FAKE_GO_FAILS"):
    print("it does not compile", file=sys.stderr)
    sys.exit(1)
into = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
for package in sys.argv[sys.argv.index("-o") + 2:]:
    words = package.split("/")
    name = words[-2] if words[-1][1:].isdigit() else words[-1]
    (into / name).write_text(package)
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, a pretended `go`, and the file in which it notes how it was called."""
    programs = tmp_path / "bin"
    programs.mkdir()
    go = programs / "go"
    go.write_text(FAKE_GO.format(python=sys.executable))
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("LWS_KUEUE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FAKE_GO_CALLS", str(tmp_path / "calls"))
    monkeypatch.setattr(engine, "answers", lambda: False)
    return tmp_path / "calls"


def builds(calls: Path) -> int:
    return sum(line.startswith("build") for line in calls.read_text().splitlines())


def test_programs_are_built_once_and_then_taken_from_the_cache(calls: Path) -> None:
    first = binaries.ensure()
    assert set(first) == {
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubectl",
        "kwok",
    }
    assert first["etcd"].read_text() == "go.etcd.io/etcd/server/v3"
    assert first["kwok"].read_text() == "sigs.k8s.io/kwok/cmd/kwok"
    assert builds(calls) == len(binaries.MODULES)
    assert binaries.ensure() == first
    assert builds(calls) == len(binaries.MODULES)


def test_a_cached_sandbox_needs_no_go(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binaries.ensure()
    monkeypatch.setenv("PATH", "")
    assert binaries.ensure()["kwok"].is_file()


def test_helm_is_built_for_whoever_asks_and_by_nobody_else(calls: Path) -> None:
    binaries.ensure()
    assert builds(calls) == len(binaries.MODULES)
    assert binaries.helm().read_text() == "helm.sh/helm/v4/cmd/helm"
    assert binaries.helm().read_text() == "helm.sh/helm/v4/cmd/helm"
    assert builds(calls) == len(binaries.MODULES) + 1


@pytest.mark.parametrize("module", [*binaries.MODULES, binaries.HELM], ids=lambda m: m.name)
def test_a_module_is_pinned_to_the_version_that_it_says(module: binaries.Module) -> None:
    text = (module.source / "go.mod").read_text()
    paths = {tool.split("/cmd/")[0].removesuffix("/") for tool in module.tools.values()}
    assert any(re.search(rf"\b{re.escape(p)} {re.escape(module.version)}\b", text) for p in paths)


def test_programs_for_another_system_have_another_place(calls: Path) -> None:
    assert set(binaries.ensure().values()).isdisjoint(binaries.ensure("Plan9").values())


def test_the_key_follows_the_modules_and_the_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = binaries.KWOK
    for file in ("go.mod", "go.sum"):
        target = tmp_path / module.name / file
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((module.source / file).read_bytes())
    original = module.key("Linux")
    monkeypatch.setattr(binaries, "_TOOLCHAIN", tmp_path)
    assert module.key("Linux") == original
    keys = {original}
    for file in ("go.mod", "go.sum"):
        with (tmp_path / module.name / file).open("a") as changed:
            changed.write("// changed\n")
        keys.add(module.key("Linux"))
    monkeypatch.setattr(binaries, "_BUILD_FLAGS", ("-race",))
    keys.add(module.key("Linux"))
    assert len(keys) == 4


def test_a_failed_build_is_reported_and_leaves_nothing(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GO_FAILS", "yes")
    with pytest.raises(sandbox.ToolchainError, match=r"(?s)kubernetes.*it does not compile"):
        binaries.ensure()
    left = [p for p in (binaries.cache_directory() / "binaries").iterdir() if p.is_dir()]
    assert left == []
    monkeypatch.delenv("FAKE_GO_FAILS")
    assert binaries.ensure()["etcd"].is_file()


def test_a_killed_build_is_swept_up_by_the_next(calls: Path) -> None:
    place = binaries.cache_directory() / "binaries"
    half_made = place / f".{binaries.ETCD.key(platform.system())}.abc"
    half_made.mkdir(parents=True)
    binaries.ensure()
    assert not half_made.exists()


def test_two_processes_build_once_and_one_says_that_it_waits(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GO_SECONDS", "2")
    code = "from lws_kueue_lab.sandbox import binaries; binaries.ensure()"
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = "".join(process.communicate(timeout=60)[1] for process in both)
    assert [process.returncode for process in both] == [0, 0], said
    assert "another process is building" in said
    assert builds(calls) == len(binaries.MODULES)


def test_without_go_and_docker_it_fails_and_says_what_to_install(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(sandbox.NoBuilderError) as refused:
        binaries.ensure()
    assert "Install Go 1.26.0 or newer" in str(refused.value)
    assert "start Docker" in str(refused.value)


@pytest.mark.parametrize(
    ("version", "accepted"),
    [
        ("go version go1.26.0 linux/amd64", True),
        ("go version go1.27rc1 linux/amd64", True),
        ("go version devel go1.28-abcdef linux/amd64", True),
        ("go version go1.25.9 linux/amd64", False),
        ("go version go1.9 linux/amd64", False),
    ],
)
def test_a_go_that_is_too_old_is_refused(
    calls: Path, monkeypatch: pytest.MonkeyPatch, version: str, accepted: bool
) -> None:
    monkeypatch.setenv("FAKE_GO_VERSION", version)
    if accepted:
        assert binaries.find_builder().description == "the Go toolchain of this machine"
    else:
        with pytest.raises(sandbox.NoBuilderError, match="too old"):
            binaries.find_builder()


def test_docker_builds_where_there_is_no_go(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = tmp_path / "bin" / "docker"
    (tmp_path / "bin" / "go").rename(docker)
    monkeypatch.setattr(engine, "answers", lambda: True)
    builder = binaries.find_builder()
    command = builder.command(binaries.ETCD, into=Path("/somewhere"))
    assert command[:3] == ["docker", "run", "--rm"]
    assert f"{binaries.ETCD.source}:/module:ro" in command
    assert "/somewhere:/out" in command
    assert command[-3:] == ["-o", "/out/", "go.etcd.io/etcd/server/v3"]


def test_a_long_build_says_in_a_log_that_it_goes_on(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GO_SECONDS", "1")
    code = textwrap.dedent(
        """
        from lws_kueue_lab.sandbox import binaries, progress
        progress._LINE_EVERY_SECONDS = 0.3
        binaries.ensure()
        """
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True, check=True
    )
    lines = result.stderr.splitlines()
    assert lines[0].startswith("[sandbox] building kubernetes v1.36.3 (5 to 8 minutes the first")
    assert any("building etcd v3.6.8, 1 packages compiled, " in line for line in lines)
    assert lines[-1].startswith("[sandbox] building kwok v0.8.0: done after ")


def test_the_cache_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    monkeypatch.delenv("LWS_KUEUE_CACHE", raising=False)
    assert binaries.cache_directory() == Path("/xdg/lws-kueue")
    monkeypatch.setenv("LWS_KUEUE_CACHE", "/mine")
    assert binaries.cache_directory() == Path("/mine")
    monkeypatch.delenv("LWS_KUEUE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert binaries.cache_directory() == Path(os.environ["HOME"]) / ".cache" / "lws-kueue"
