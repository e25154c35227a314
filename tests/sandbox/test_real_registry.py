"""The reader against a registry that others wrote, where Debian's is installed."""

import os
from pathlib import Path

import pytest
from lws_kueue_lab.sandbox import binaries, kueue_manager
from lws_kueue_lab.sandbox.releases import table

from tests.kit.releases import images, published, real_registry

pytestmark = pytest.mark.skipif(
    real_registry.PROGRAM is None, reason="docker-registry is not installed (a package of Debian)"
)


def test_what_was_pushed_into_a_real_registry_comes_out_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in os.environ:
        if name.lower().endswith("_proxy") or name.startswith("LWS_KUEUE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # Nobody publishes anything here.
    monkeypatch.setenv("LWS_KUEUE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "")
    here = table.platform_of("Linux").architecture
    with real_registry.serving(tmp_path) as url:
        real_registry.push(url, published.everything())
        monkeypatch.setenv("LWS_KUEUE_MIRROR", url)
        found = binaries.ensure("Linux")
        source = kueue_manager.released()
    for name, path in found.items():
        where = table.known().programs[name].path
        assert path.read_bytes() == images.program(where, architecture=here)
    assert source.binary.read_bytes() == images.program("manager", architecture=here)
    assert (source.manifests / "manifests.yaml").read_bytes() == published.MANIFESTS
