"""The programs of the sandbox, with a `go` that only pretends and a mirror on loopback."""

import dataclasses
import os
import platform
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from lws_kueue_lab import sandbox
from lws_kueue_lab.demo.command import demo_command
from lws_kueue_lab.sandbox import (
    binaries,
    cli,
    engine,
    intact,
    kueue_choice,
    kueue_manager,
    supervision,
)
from lws_kueue_lab.sandbox.releases import errors, table

from tests.kit import commands
from tests.kit.releases import images, mirror, published

ROOT = Path(__file__).parents[2]
HERE = table.platform_of("Linux").architecture

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
    monkeypatch.setenv("LWS_KUEUE_DOWNLOAD", "never")
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


@pytest.fixture
def there(calls: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[mirror.Mirror]:
    """A mirror with everything beside a `go` that could build."""
    monkeypatch.delenv("LWS_KUEUE_DOWNLOAD")
    with mirror.serving(published.everything()) as serving:
        monkeypatch.setenv("LWS_KUEUE_MIRROR", serving.url)
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # Nobody publishes anything here.
        yield serving


def test_what_a_mirror_has_is_not_built(calls: Path, there: mirror.Mirror) -> None:
    found = binaries.ensure("Linux")
    assert found["etcd"].read_bytes() == images.program("usr/local/bin/etcd", architecture=HERE)
    assert {path.parent.name for path in found.values()} == {
        f"{module.name}-{module.version}-linux-{HERE}" for module in binaries.MODULES
    }
    assert not calls.exists()


def test_what_a_mirror_lacks_is_built_and_the_reason_is_said(
    calls: Path, there: mirror.Mirror, capfd: pytest.CaptureFixture[str]
) -> None:
    del there.repositories["kwok/kwok"]
    found = binaries.ensure("Linux")
    assert found["kwok"].read_text() == "sigs.k8s.io/kwok/cmd/kwok"
    assert found["etcd"].read_bytes() == images.program("usr/local/bin/etcd", architecture=HERE)
    assert builds(calls) == 1
    (said,) = [line for line in capfd.readouterr().err.splitlines() if "to be built" in line]
    assert said.startswith("[sandbox] kwok v0.8.0: to be built, ")
    assert "kwok/manifests/v0.8.0 answers 404" in said


def test_what_is_another_one_than_it_should_be_is_not_built_instead(
    calls: Path, there: mirror.Mirror
) -> None:
    there.repositories["etcd-development/etcd"] = images.image(
        "v3.6.8", "usr/local/bin/etcd", lambda _: [images.member("usr/local/bin/etcd", b"#!")]
    )
    with pytest.raises(errors.IntegrityError, match="etcd is no program for Linux"):
        binaries.ensure("Linux")
    assert not calls.exists()


def test_what_was_built_before_is_not_downloaded(
    calls: Path, there: mirror.Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LWS_KUEUE_DOWNLOAD", "never")
    built = binaries.ensure("Linux")
    monkeypatch.delenv("LWS_KUEUE_DOWNLOAD")
    assert binaries.ensure("Linux") == built
    assert not there.asked


@pytest.mark.parametrize("name", ["etcd", "kueue"])
def test_a_kept_program_that_a_later_pin_contradicts_is_neither_used_nor_replaced(
    calls: Path, there: mirror.Mirror, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    binaries.ensure("Linux")
    kueue_manager.released()
    known = table.known()
    pins = {table.platform_of("Linux").key: table.Digests(program="sha256:" + "0" * 64)}
    changed = dict(known.programs)
    changed[name] = dataclasses.replace(changed[name], pins=pins)
    monkeypatch.setattr(table, "known", lambda: dataclasses.replace(known, programs=changed))
    asked = len(there.asked)
    with pytest.raises(errors.IntegrityError, match=f"{name} v.*kept before that was pinned"):
        kueue_manager.released() if name == "kueue" else binaries.ensure("Linux")
    assert len(there.asked) == asked
    assert not calls.exists(), "it was built instead"


def run(*words: str) -> Result:
    return CliRunner().invoke(cli.sandbox_group, words)


def test_fetch_fills_a_cache_that_verify_is_content_with(
    calls: Path, there: mirror.Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = run("fetch")
    assert fetched.exit_code == 0, fetched.output
    assert not calls.exists()
    # What is copied to a machine without a network is the folder.
    moved = binaries.cache_directory().rename(binaries.cache_directory().with_name("moved"))
    monkeypatch.setenv("LWS_KUEUE_CACHE", str(moved))
    monkeypatch.setenv("LWS_KUEUE_DOWNLOAD", "never")
    monkeypatch.setenv("PATH", "")
    verified = run("verify")
    assert verified.exit_code == 0, verified.output
    assert [line.partition(":")[0] for line in verified.stdout.splitlines()] == [
        *(f"{tool} {m.version}" for m in binaries.MODULES for tool in sorted_as_in_table(m)),
        *("kueue v0.19.2", "kueue-manifests v0.19.2"),
    ]
    assert binaries.ensure("Linux")["kubectl"].is_file()
    binaries.ensure("Linux")["kubectl"].write_bytes(b"another one")
    changed = run("verify")
    assert changed.exit_code == 1
    assert "kubectl is no program for Linux" in changed.output


def changed_later(program: Path, content: bytes) -> None:
    """Write into a program as somebody does who comes some time after it."""
    program.write_bytes(content)
    os.utime(program, (program.stat().st_mtime + 60,) * 2)


@pytest.fixture(params=["built", "downloaded"])
def kept(request: pytest.FixtureRequest, calls: Path) -> dict[str, Path]:
    """The programs in the cache, in whichever way they came."""
    if request.param == "downloaded":
        request.getfixturevalue("there")
    return binaries.ensure("Linux")


def test_a_program_that_was_damaged_is_named_and_not_started(kept: dict[str, Path]) -> None:
    for name in ("etcd", "kubectl"):
        before = kept[name].read_bytes()
        # As long as it was: nothing but its digest tells.
        changed_later(kept[name], bytes(len(before)))
        told = run("build")
        assert told.exit_code == 1
        assert f"{kept[name]} is damaged" in told.output
        assert f"Remove {kept[name].parent}: the next start gets it anew" in told.output
        changed_later(kept[name], before)
    kept["kwok"].unlink()
    with pytest.raises(errors.IntegrityError, match="kwok is missing"):
        binaries.ensure("Linux")
    shutil.rmtree(kept["kwok"].parent)
    assert binaries.ensure("Linux")["kwok"].is_file()


def test_programs_that_are_only_younger_are_read_once(
    kept: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    compare = intact.compare

    def noted(place: Path, names: list[str]) -> dict[str, str]:
        read.extend(names)
        return compare(place, names)

    monkeypatch.setattr(intact, "compare", noted)
    binaries.ensure("Linux")
    assert read == []
    # So does a copy of the cache.
    record = next(path for path in kept["etcd"].parent.iterdir() if path.suffix == ".json")
    os.utime(record, (1, 1))
    assert binaries.ensure("Linux") == kept
    assert read == ["etcd"]
    binaries.ensure("Linux")
    assert read == ["etcd"]


def test_verify_compares_what_was_built_with_what_it_was(calls: Path) -> None:
    built = binaries.ensure()
    verified = run("verify")
    assert verified.exit_code == 0, verified.output
    lines = verified.stdout.splitlines()
    assert len(lines) == len(built) + 1
    assert sum("(compared with: what was built)" in line for line in lines) == len(built)
    assert lines[-1] == "kueue v0.19.2: never downloaded"
    elsewhere = run("verify", "--platform=linux/s390x")
    assert elsewhere.exit_code == 1
    assert "was never downloaded" in elsewhere.output
    (built["kwok"].parent / intact.BUILT).unlink()
    assert "kwok v0.8.0: built, and nothing was kept" in run("verify").stdout
    built["etcd"].write_bytes(b"")
    changed = run("verify")
    assert changed.exit_code == 1
    assert f"{built['etcd']} is damaged" in changed.output


def test_a_machine_without_a_network_gets_its_programs_as_the_readme_of_the_lab_says(
    calls: Path, there: mirror.Mirror, tmp_path: Path
) -> None:
    blocks = [
        block.text
        for block in commands.blocks(ROOT / "lab" / "README.md")
        if block.heading == "Where the programs come from" and block.why_not is None
    ]
    assert [re.findall(r"sandbox (\w+)", block) for block in blocks] == [["fetch"], ["verify"]]
    command = calls.parent / "bin" / "lws-kueue"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m lws_kueue.cli "$@"\n')
    command.chmod(0o755)
    bash = shutil.which("bash", path=os.defpath)
    assert bash is not None
    for block in blocks:
        asked = len(there.asked)
        ran = subprocess.run(
            [bash, "-euo", "pipefail", "-c", block],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
    assert len(there.asked) == asked, "what verifies asks nobody"
    assert {path.name for path in (tmp_path / "programs").iterdir()} >= {"releases", "seen.json"}
    assert "(compared with: seen before)" in ran.stdout
    assert not calls.exists()


def sorted_as_in_table(module: binaries.Module) -> list[str]:
    return [name for name in table.known().programs if name in module.tools]


def test_fetch_takes_other_platforms_and_versions_and_builds_nothing(
    calls: Path, there: mirror.Mirror
) -> None:
    (manifest,) = [
        m for t, m in there.repositories["kueue/kueue"].manifests.items() if t == "v0.19.2"
    ]
    there.repositories["kueue/kueue"].manifests["v0.18.1"] = manifest
    there.repositories["kueue/manifests"].manifests["v0.18.1"] = there.repositories[
        "kueue/manifests"
    ].manifests["v0.19.2"]
    fetched = run("fetch", "--platform=linux/arm64", "--kueue=v0.18.1")
    assert fetched.exit_code == 0, fetched.output
    folders = {path.name for path in (binaries.cache_directory() / "releases").iterdir()}
    assert {"etcd-v3.6.8-linux-arm64", "kueue-v0.18.1-linux-arm64"} <= folders
    absent = run("fetch", "--kueue=v0.18.2")
    assert absent.exit_code == 1
    assert "answers 404" in absent.output
    assert not calls.exists()


def test_a_kueue_that_is_not_to_be_had_is_refused_before_anything_is_started(
    calls: Path, there: mirror.Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def begun(*_: object, **__: object) -> None:
        raise AssertionError("something is started")

    monkeypatch.setattr(binaries, "ensure", begun)
    monkeypatch.setattr(supervision.Supervision, "__init__", begun)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (binaries.cache_directory() / "releases" / f"kueue-v0.18.1-linux-{HERE}").mkdir(parents=True)
    runner = CliRunner()
    wanted = "--kueue=v9.9.9"
    for command, words in (
        (demo_command, [wanted]),
        (demo_command, [wanted, "--multikueue"]),
        (cli.sandbox_group, ["up", wanted, "--detach"]),
    ):
        refused = runner.invoke(command, words)
        assert refused.exit_code == 1, refused.output
        assert "Kueue v9.9.9 is not to be had" in refused.output
        assert "manifests/v9.9.9 answers 404" in refused.output
        assert "such as v0.19.2, or that is kept in the cache (v0.18.1); or auto" in refused.output
        assert "Kubernetes control plane" not in refused.output
    with (
        pytest.raises(sandbox.SandboxError, match="is not to be had"),
        sandbox.open(options=sandbox.Options(kueue="v9.9.9")),
    ):
        pass


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["fetch", "--platform=arm64"], "arm64 is no platform, such as linux/arm64"),
        (["fetch", "--kueue=main"], "main is no version of Kueue, such as v0.19.2"),
        (["verify"], "kubernetes v1.36.3 for linux/"),
        (["up", "--kueue=latest"], "'latest' is none of auto|real|stand-in|none|VERSION"),
    ],
)
def test_what_a_person_asks_wrongly_is_answered_in_words(
    calls: Path, there: mirror.Mirror, words: list[str], text: str
) -> None:
    answer = run(*words)
    assert answer.exit_code != 0
    assert text in answer.output
    assert not there.asked


def test_the_kueue_of_a_release_is_a_program_and_its_manifests(
    calls: Path, there: mirror.Mirror
) -> None:
    source = kueue_manager.released()
    assert source.binary.read_bytes() == images.program("manager", architecture=HERE)
    (file,) = source.manifests.iterdir()
    assert file.read_bytes() == published.MANIFESTS
    asked = len(there.asked)
    assert kueue_manager.released("v0.19.2") == source
    assert len(there.asked) == asked


@pytest.mark.parametrize(
    ("said", "mode"),
    [
        ("auto", "auto"),
        ("real", "manager"),
        ("stand-in", "standin"),
        ("none", "none"),
        ("v0.19.2", "v0.19.2"),
        ("v0.20.0-rc.1", "v0.20.0-rc.1"),
    ],
)
def test_a_person_chooses_a_kueue_by_these_words(said: str, mode: str) -> None:
    assert kueue_choice.KUEUE_CHOICE.convert(said, None, None) == mode
    # A sandbox that is detached hands it on to the process that owns it.
    assert kueue_choice.KUEUE_CHOICE.convert(mode, None, None) == mode


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


def test_a_cache_that_cannot_be_built_into_is_told_with_what_to_do(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LWS_KUEUE_CACHE", str(tmp_path / "file"))
    with pytest.raises(sandbox.ToolchainError, match=r"cannot be written.*set LWS_KUEUE_CACHE"):
        binaries.ensure()


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
    assert "Nor can they be downloaded: LWS_KUEUE_DOWNLOAD=never." in str(refused.value)


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
    assert lines[0] == (
        "[sandbox] kubernetes v1.36.3, etcd v3.6.8, kwok v0.8.0: to be built, "
        "LWS_KUEUE_DOWNLOAD=never"
    )
    assert lines[1].startswith("[sandbox] building kubernetes v1.36.3 (5 to 8 minutes the first")
    assert any("building etcd v3.6.8, 1 packages compiled, " in line for line in lines)
    assert lines[-1].startswith("[sandbox] building kwok v0.8.0: done after ")


def test_the_cache_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    monkeypatch.delenv("LWS_KUEUE_CACHE", raising=False)
    assert binaries.cache_directory() == Path("/xdg/lws-kueue")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert binaries.cache_directory() == Path(os.environ["HOME"]) / ".cache" / "lws-kueue"
    monkeypatch.setenv("LWS_KUEUE_CACHE", "/mine")
    assert binaries.cache_directory() == Path("/mine")
    monkeypatch.delenv("LWS_KUEUE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert binaries.cache_directory() == Path(os.environ["HOME"]) / ".cache" / "lws-kueue"
