"""Pinning what is published, at a registry on loopback."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from lws_kueue_lab.sandbox.releases import table

from tests.kit.releases import images, mirror, published
from tools import pin_releases


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[mirror.Mirror]:
    monkeypatch.delenv("LWS_KUEUE_MIRROR", raising=False)
    with mirror.serving(published.everything()) as serving:
        serving.files["/v0.19.2/manifests.yaml"] = published.MANIFESTS
        yield serving


@pytest.fixture
def unpinned(publisher: mirror.Mirror, tmp_path: Path) -> Path:
    """The table as if everything were published at the publisher."""
    known = table.known()
    moved = table.Table(
        programs={
            name: dataclasses.replace(
                program,
                registry=publisher.url,
                index="",
                pins=dict.fromkeys(("linux-amd64", "linux-arm64"), table.Digests()),
            )
            for name, program in known.programs.items()
        },
        files={
            name: dataclasses.replace(
                file, url=f"{publisher.url}/{{version}}/manifests.yaml", sha256=""
            )
            for name, file in known.files.items()
        },
    )
    path = tmp_path / "releases.toml"
    path.write_text(table.render(moved, head="# What it is about."))
    return path


def test_pins_are_the_digests_of_what_is_published(
    publisher: mirror.Mirror, unpinned: Path
) -> None:
    assert pin_releases.main([f"--table={unpinned}"]) == 0
    assert unpinned.read_text().startswith("# What it is about.\n\n[programs.kube-apiserver]\n")
    known = table.load(unpinned)
    etcd = known.programs["etcd"]
    assert etcd.index == images.digest(
        publisher.repositories["etcd-development/etcd"].manifests["v3.6.8"][1]
    )
    for architecture in ("amd64", "arm64"):
        program = images.program(etcd.path, architecture=architecture)
        pins = etcd.pinned(table.Platform("linux", architecture))
        assert pins.program == images.digest(program)
        assert pins.layer == images.digest(images.layer(images.member(etcd.path, program)))
    assert known.files["kueue-manifests"].sha256 == images.digest(published.MANIFESTS)


def test_a_version_that_is_published_anew_is_refused(
    publisher: mirror.Mirror, unpinned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pin_releases.main([f"--table={unpinned}"]) == 0
    pinned = unpinned.read_text()
    publisher.repositories["kwok/kwok"] = images.image(
        "v0.8.0",
        "usr/local/bin/kwok",
        lambda architecture: [
            images.member("usr/local/bin/kwok", images.program("new", architecture=architecture))
        ],
    )
    assert pin_releases.main([f"--table={unpinned}"]) == 1
    assert "is wanted" in capsys.readouterr().err
    assert unpinned.read_text() == pinned
