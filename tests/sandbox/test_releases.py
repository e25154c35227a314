"""Released programs from a registry on loopback: what is taken, and what is refused.

The programs are a few bytes each; the registry fails as each row of the table says.
"""

import contextlib
import dataclasses
import datetime
import errno
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import cluster, downloads, manager_certificate
from lws_kueue_lab.sandbox.releases import layers, obtain, seen, sources, table, transfer
from lws_kueue_lab.sandbox.releases.errors import IntegrityError, UnavailableError

from tests.kit.releases import images, mirror

ROOT = Path(__file__).parents[2]
HERE = table.Platform("linux", "amd64")
VERSION = "v1.0.0"
TOOL = table.Program(
    name="tool",
    version=VERSION,
    registry="https://registry.invalid",
    repository="some/tool",
    path="usr/local/bin/tool",
)
MANIFESTS = table.File(
    name="tool-manifests",
    version=VERSION,
    url="https://files.invalid/{version}/manifests.yaml",
    repository="some/manifests",
)
TABLE = table.Table(programs={"tool": TOOL}, files={"tool-manifests": MANIFESTS})
RELEASE = downloads.Release(name="tool", version=VERSION, content=TABLE)
YAML = b"kind: Namespace\n"
LAYER = r"/v2/some/tool/blobs/"
INDEX = rf"/v2/some/tool/manifests/{VERSION}"


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, no settings of whoever runs the tests, and nobody who is waited for long."""
    for name in os.environ:
        if name.lower().endswith("_proxy") or name.startswith("LWS_KUEUE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setattr(transfer, "_PAUSE_SECONDS", 0.01)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[mirror.Mirror]:
    """A mirror with everything, which the environment names."""
    with mirror.serving(repositories()) as serving:
        monkeypatch.setenv("LWS_KUEUE_MIRROR", serving.url)
        yield serving


def repositories(
    make: Callable[[str], Sequence[tuple[tarfile.TarInfo, bytes]]] | None = None,
    *,
    architectures: Sequence[str] = ("amd64", "arm64"),
) -> dict[str, images.Repository]:
    tool = images.image(VERSION, TOOL.path, make, architectures=architectures)
    return {"some/tool": tool, "some/manifests": images.artefact(VERSION, YAML)}


def get(cache: Path, release: downloads.Release = RELEASE, wanted: table.Platform = HERE) -> Path:
    with downloads.opened(cache, release.content) as downloader:
        return downloader.get(release, wanted)


def pinned(**digests: str) -> downloads.Release:
    """The release with these digests in the table."""
    index = digests.pop("index", "")
    tool = dataclasses.replace(TOOL, index=index, pins={HERE.key: table.Digests(**digests)})
    return dataclasses.replace(RELEASE, content=dataclasses.replace(TABLE, programs={"tool": tool}))


def pinned_file(digest: str) -> downloads.Release:
    """The release with the digest of its file in the table."""
    files = {"tool-manifests": dataclasses.replace(MANIFESTS, sha256=digest)}
    return dataclasses.replace(RELEASE, content=dataclasses.replace(TABLE, files=files))


def layer_of(there: mirror.Mirror) -> str:
    """The digest of the layer with the program for amd64."""
    (index,) = (m for t, m in there.repositories["some/tool"].manifests.items() if t == VERSION)
    entry = json.loads(index[1])["manifests"][0]["digest"]
    manifest = json.loads(there.repositories["some/tool"].manifests[entry][1])
    return str(manifest["layers"][1]["digest"])


def nothing_is_left(cache: Path) -> bool:
    """Whether there is neither a release nor a half of one in the cache."""
    return not [path for path in cache.glob("releases/*") if path.is_dir()]


def layers_of(cache: Path) -> Path:
    """Where layers lie while the release is downloaded."""
    return cache / "downloads" / RELEASE.place(cache, HERE).name


def no_layer_is_left(cache: Path) -> bool:
    return not list(layers_of(cache).iterdir())


# What is taken.


def test_a_program_and_its_manifests_come_out_of_a_mirror_and_stay(
    cache: Path, there: mirror.Mirror
) -> None:
    place = get(cache)
    assert (place / "tool").read_bytes() == images.program(TOOL.path)
    assert os.access(place / "tool", os.X_OK)
    assert (place / "tool-manifests" / "manifests.yaml").read_bytes() == YAML
    asked = len(there.asked)
    assert get(cache) == place
    assert len(there.asked) == asked
    assert no_layer_is_left(cache)


def test_of_the_layers_only_the_one_with_the_program_is_downloaded(
    cache: Path, there: mirror.Mirror
) -> None:
    get(cache)
    big = {
        images.digest(images.BASE),
        images.digest(images.layer(images.member("etc/motd", b"hello\n"))),
    }
    assert there.paths(layer_of(there))
    assert not [path for path in there.paths() if path.rpartition("/")[2] in big]


def test_a_layer_is_found_where_the_image_does_not_say_what_made_it(
    cache: Path, there: mirror.Mirror
) -> None:
    path = "opt/other"
    tool = images.image(VERSION, path, lambda a: [images.member(TOOL.path, images.program())])
    there.repositories["some/tool"] = tool
    assert (get(cache) / "tool").read_bytes() == images.program()
    assert len(there.paths(LAYER)) == 3, "the configuration, the layer on top, and the program's"


def test_the_platform_is_the_one_that_was_asked_for(cache: Path, there: mirror.Mirror) -> None:
    place = get(cache, wanted=table.Platform("linux", "arm64"))
    assert (place / "tool").read_bytes() == images.program(TOOL.path, architecture="arm64")


def test_the_official_place_serves_where_no_mirror_is_set(
    cache: Path,
    there: mirror.Mirror,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("LWS_KUEUE_MIRROR")
    there.files[f"/{VERSION}/manifests.yaml"] = YAML
    place = get(cache, official(there.url))
    assert (place / "tool-manifests" / "manifests.yaml").read_bytes() == YAML
    assert "no mirror is set" in capfd.readouterr().err


def official(url: str) -> downloads.Release:
    """The release as if it were published there."""
    content = table.Table(
        programs={"tool": dataclasses.replace(TOOL, registry=url)},
        files={
            "tool-manifests": dataclasses.replace(
                MANIFESTS, url=f"{url}/{{version}}/manifests.yaml"
            )
        },
    )
    return dataclasses.replace(RELEASE, content=content)


def test_what_a_mirror_lacks_comes_from_the_official_place_and_that_is_said(
    cache: Path, there: mirror.Mirror, capfd: pytest.CaptureFixture[str]
) -> None:
    with mirror.serving(repositories()) as publisher:
        publisher.files[f"/{VERSION}/manifests.yaml"] = YAML
        del there.repositories["some/tool"]
        get(cache, official(publisher.url))
        assert publisher.paths(LAYER)
    (said,) = [line for line in capfd.readouterr().err.splitlines() if "is from" in line]
    assert "/v2/some/tool/manifests/v1.0.0 answers 404" in said
    assert "no digests are pinned yet" in said


def test_a_mirror_may_have_its_repositories_below_a_path(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = {f"proxy/k8s/{name}": made for name, made in repositories().items()}
    with mirror.serving(below) as serving:
        monkeypatch.setenv("LWS_KUEUE_MIRROR", f"{serving.url}/proxy/k8s/")
        assert get(cache).is_dir()


@pytest.mark.parametrize(
    "setting",
    [
        "http://mirror.example.com",
        "ftp://127.0.0.1",
        "https://me:secret@127.0.0.1",
        "https://:secret@127.0.0.1",
        "http://me:secret@example.com",
        "https://127.0.0.1?token=secret",
        "https://127.0.0.1#secret",
    ],
)
def test_a_mirror_that_nobody_could_trust_is_refused(
    cache: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setenv("LWS_KUEUE_MIRROR", setting)
    with pytest.raises(sandbox.SandboxError, match="LWS_KUEUE_MIRROR") as refused:
        get(cache)
    assert not isinstance(refused.value, UnavailableError)
    assert "secret" not in str(refused.value)


def test_nothing_is_asked_where_downloads_are_off(
    cache: Path, there: mirror.Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LWS_KUEUE_DOWNLOAD", "never")
    with pytest.raises(UnavailableError, match="LWS_KUEUE_DOWNLOAD=never"):
        get(cache)
    assert not there.asked


# Trust.


def test_pinned_digests_that_fit_are_said_to(
    cache: Path, there: mirror.Mirror, capfd: pytest.CaptureFixture[str]
) -> None:
    index = images.digest(there.repositories["some/tool"].manifests[VERSION][1])
    program = images.digest(images.program(TOOL.path))
    release = pinned(index=index, layer=layer_of(there), program=program)
    files = pinned_file(images.digest(YAML)).content.files
    get(
        cache,
        dataclasses.replace(release, content=dataclasses.replace(release.content, files=files)),
    )
    assert "all digests are those of releases.toml" in capfd.readouterr().err


WRONG = "sha256:" + "0" * 64


@pytest.mark.parametrize("what", ["index", "layer", "program"])
def test_a_digest_that_does_not_fit_its_pin_ends_the_run(
    cache: Path, there: mirror.Mirror, what: str
) -> None:
    with mirror.serving(repositories()) as publisher:
        release = pinned(**{what: WRONG})
        tool = dataclasses.replace(release.content.programs["tool"], registry=publisher.url)
        content = dataclasses.replace(release.content, programs={"tool": tool})
        with pytest.raises(IntegrityError, match=WRONG):
            get(cache, dataclasses.replace(release, content=content))
        assert not publisher.asked, "another source was tried"
    assert nothing_is_left(cache)


def test_what_was_seen_before_has_to_come_again(
    cache: Path, there: mirror.Mirror, capfd: pytest.CaptureFixture[str]
) -> None:
    first = get(cache)
    downloads.verify(RELEASE, cache, HERE)
    first.rename(cache / "away")
    get(cache)
    assert "the digests are those that were seen before" in capfd.readouterr().err
    first.rename(cache / "away-as-well")
    there.repositories = repositories(
        lambda architecture: [
            images.member(TOOL.path, images.program("another", architecture=architecture))
        ]
    )
    with pytest.raises(IntegrityError, match="what was seen before"):
        get(cache)
    assert not first.exists()


def test_the_index_that_was_seen_for_one_platform_holds_for_the_others(
    cache: Path, there: mirror.Mirror
) -> None:
    get(cache)
    there.repositories = repositories(
        lambda architecture: [
            images.member(TOOL.path, images.program("another", architecture=architecture))
        ]
    )
    with pytest.raises(IntegrityError, match="its index has the digest"):
        get(cache, wanted=table.Platform("linux", "arm64"))


def test_a_changed_program_in_the_cache_is_found_by_verify(
    cache: Path, there: mirror.Mirror
) -> None:
    place = get(cache)
    lines = downloads.verify(RELEASE, cache, HERE)
    assert [line.partition(":")[0] for line in lines] == ["tool v1.0.0", "tool-manifests v1.0.0"]
    assert all("seen before" in line for line in lines)
    with (place / "tool").open("ab") as changed:
        changed.write(b"more")
    with pytest.raises(IntegrityError, match="its program has the digest"):
        downloads.verify(RELEASE, cache, HERE)
    (place / "tool").unlink()
    with pytest.raises(IntegrityError, match="tool is missing"):
        downloads.verify(RELEASE, cache, HERE)
    with pytest.raises(UnavailableError, match="was never downloaded"):
        downloads.verify(RELEASE, cache, table.Platform("linux", "arm64"))


@pytest.mark.parametrize("what", ["index", "layer", "program", "file"])
def test_what_is_kept_ends_the_run_once_a_pin_says_that_it_is_another_one(
    cache: Path, there: mirror.Mirror, what: str
) -> None:
    place = get(cache)
    release = pinned_file(WRONG) if what == "file" else pinned(**{what: WRONG})
    asked = len(there.asked)
    with pytest.raises(IntegrityError, match="releases.toml wants " + WRONG) as refused:
        get(cache, release)
    assert f"remove {place}, and what {cache / 'seen.json'} says" in str(refused.value)
    assert len(there.asked) == asked, "another one was fetched without a word"
    assert place.is_dir()


def test_what_is_kept_serves_on_where_the_pins_that_come_fit_it(
    cache: Path, there: mirror.Mirror
) -> None:
    place = get(cache)
    asked = len(there.asked)
    index = images.digest(there.repositories["some/tool"].manifests[VERSION][1])
    program = images.digest(images.program(TOOL.path))
    fitting = pinned(index=index, layer=layer_of(there), program=program)
    assert get(cache, fitting) == place
    assert get(cache, pinned_file(images.digest(YAML))) == place
    assert len(there.asked) == asked


def test_a_pin_for_another_platform_says_nothing_about_what_is_kept_for_this_one(
    cache: Path, there: mirror.Mirror
) -> None:
    place = get(cache)
    tool = dataclasses.replace(TOOL, pins={"linux-arm64": table.Digests(program=WRONG)})
    content = dataclasses.replace(TABLE, programs={"tool": tool})
    assert get(cache, dataclasses.replace(RELEASE, content=content)) == place


def test_what_had_to_go_because_of_a_pin_is_fetched_anew_as_the_message_says(
    cache: Path, there: mirror.Mirror
) -> None:
    place = get(cache)
    before = dict(there.repositories)
    there.repositories |= repositories(
        lambda architecture: [
            images.member(TOOL.path, images.program("another", architecture=architecture))
        ]
    )
    assert there.repositories != before
    release = pinned(program=images.digest(images.program("another")))
    with pytest.raises(IntegrityError, match="It was kept before that was pinned"):
        get(cache, release)
    shutil.rmtree(place)
    with pytest.raises(IntegrityError, match="what was seen before"):
        get(cache, release)
    (cache / seen.FILE_NAME).unlink()
    assert (get(cache, release) / "tool").read_bytes() == images.program("another")


@pytest.mark.parametrize("content", [None, "", "{", "{}", "[]", "[1]", '[{"name": "tool"}]'])
def test_a_folder_that_does_not_say_how_its_content_came_ends_the_run(
    cache: Path, there: mirror.Mirror, content: str | None
) -> None:
    record = get(cache) / obtain.PROVENANCE
    if content is None:
        record.unlink()
    else:
        record.write_text(content)
    with pytest.raises(IntegrityError, match=r"does not say how it came .*Remove it"):
        get(cache)
    if content not in ("{}", "[]"):
        with pytest.raises(IntegrityError, match="does not say how it came"):
            downloads.verify(RELEASE, cache, HERE)


def test_a_folder_in_the_place_of_what_was_seen_ends_the_run(
    cache: Path, there: mirror.Mirror
) -> None:
    get(cache).rename(cache / "away")
    (cache / "seen.json").unlink()
    (cache / "seen.json").mkdir()
    with pytest.raises(IntegrityError, match=r"seen.json is damaged.*Remove it"):
        get(cache)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"tool v1.0.0": "sha256"}'])
def test_a_damaged_record_of_what_was_seen_ends_the_run(
    cache: Path, there: mirror.Mirror, content: str
) -> None:
    get(cache).rename(cache / "away")
    (cache / "seen.json").write_text(content)
    with pytest.raises(IntegrityError, match=r"seen.json is damaged.*Remove it"):
        get(cache)


# What a server does wrong. A fault that is not about content only makes the source useless, so that
# the next one may serve; a wrong content ends the run.


def answering(status: int, **headers: str) -> mirror.Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda asked, answer: mirror.Answer(status, named)


def holding(content: bytes) -> mirror.Fault:
    return lambda asked, answer: mirror.Answer(200, content=content)


def other_bytes(asked: mirror.Asked, answer: mirror.Answer) -> mirror.Answer:
    if answer.status not in (200, 206):
        return answer
    return dataclasses.replace(answer, content=answer.content[:-1] + b"?")


def longer(asked: mirror.Asked, answer: mirror.Answer) -> mirror.Answer:
    return dataclasses.replace(answer, content=answer.content + b"more")


def cut(asked: mirror.Asked, answer: mirror.Answer) -> mirror.Answer:
    """Half of what the headers promise."""
    promised = {**answer.headers, "Content-Length": str(len(answer.content))}
    half = answer.content[: len(answer.content) // 2]
    return dataclasses.replace(answer, headers=promised, content=half)


def slow(asked: mirror.Asked, answer: mirror.Answer) -> mirror.Answer:
    return dataclasses.replace(answer, pieces=20, pause=0.02)


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    name: str
    pattern: str
    fault: mirror.Fault
    times: int | None
    outcome: type[Exception] | None
    text: str = ""


ROWS = [
    Row("a configuration of other bytes", "/blobs/", other_bytes, 1, IntegrityError, "is wanted"),
    Row("a configuration that ends too early, once", "/blobs/", cut, 1, None),
    Row("a layer of other bytes", "LAYER", other_bytes, None, IntegrityError, "is wanted"),
    Row("a layer that is longer than it says", "LAYER", longer, None, IntegrityError),
    Row("a manifest of other bytes", "tool/manifests/sha256", other_bytes, None, IntegrityError),
    Row(
        "an index that is not what its header says",
        INDEX,
        lambda asked, answer: dataclasses.replace(
            answer, headers={**answer.headers, "Docker-Content-Digest": WRONG}
        ),
        None,
        IntegrityError,
        WRONG,
    ),
    Row("a layer that ends too early, once", "LAYER", cut, 1, None),
    Row("a layer that always ends too early", "LAYER", cut, None, UnavailableError),
    Row("404", INDEX, answering(404), None, UnavailableError, "answers 404"),
    Row("403", INDEX, answering(403), None, UnavailableError, "answers 403"),
    Row("401 that no token satisfies", INDEX, answering(401), None, UnavailableError, "401"),
    Row("429, then an answer", INDEX, answering(429, Retry_After="0"), 1, None),
    Row("429 for ever", INDEX, answering(429), None, UnavailableError, "answers 429"),
    Row("500 twice", INDEX, answering(500), 2, None),
    Row("500 for ever", INDEX, answering(500), None, UnavailableError, "answers 500"),
    Row("a token place that fails", "/token", answering(403), None, UnavailableError, "401"),
    Row("redirects in a circle", INDEX, answering(307, Location="."), None, UnavailableError),
    Row(
        "a redirect to a host without TLS",
        INDEX,
        answering(307, Location="http://registry.invalid/x"),
        None,
        UnavailableError,
        "not HTTPS",
    ),
    Row(
        "a redirect to what is no URL",
        INDEX,
        answering(307, Location="https://[registry.invalid/x"),
        None,
        UnavailableError,
        "Invalid IPv6 URL",
    ),
    Row(
        "a token place that gives no token", "/token", holding(b"[]"), None, UnavailableError, "401"
    ),
    Row(
        "a token place that never ends",
        "/token",
        holding(b" " * (2 << 20)),
        None,
        IntegrityError,
        "more than",
    ),
    Row("JSON that is no manifest", INDEX, holding(b"{}"), None, UnavailableError, "no manifest"),
    Row("JSON without an end", INDEX, holding(b"[" * 99999), None, UnavailableError, "no JSON"),
    Row("a slow line", "LAYER", slow, None, None),
    Row(
        "no JSON",
        INDEX,
        lambda asked, answer: dataclasses.replace(answer, content=b"<html>"),
        None,
        UnavailableError,
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_server_that_does_wrong(cache: Path, there: mirror.Mirror, row: Row) -> None:
    there.fail(row.pattern.replace("LAYER", layer_of(there)), row.fault, times=row.times)
    if row.outcome is None:
        assert (get(cache) / "tool").read_bytes() == images.program(TOOL.path)
        return
    with pytest.raises(row.outcome, match=row.text or None):
        get(cache)
    assert nothing_is_left(cache)


def test_a_layer_that_broke_off_goes_on_where_it_ended(cache: Path, there: mirror.Mirror) -> None:
    content = images.program("x") + os.urandom(1 << 20)
    there.repositories = repositories(
        lambda architecture: [images.member(TOOL.path, content)], architectures=["amd64"]
    )
    there.fail(layer_of(there), cut, times=2)
    assert (get(cache) / "tool").read_bytes() == content
    wanted = [asked.range for asked in there.asked if layer_of(there) in asked.path]
    assert [bool(each) for each in wanted] == [False, True, True]
    assert wanted[1] != wanted[2]


def test_a_token_does_not_follow_a_redirect_to_another_host(
    cache: Path, there: mirror.Mirror
) -> None:
    with mirror.serving(repositories(), asks_for_token=False) as store:
        there.fail(
            LAYER,
            lambda asked, answer: (
                mirror.Answer(307, {"Location": store.url + asked.path})
                if answer.status == 200
                else answer
            ),
        )
        get(cache)
        assert store.asked
        assert {asked.authorization for asked in store.asked} == {""}
    assert f"Bearer {mirror.TOKEN}" in {asked.authorization for asked in there.asked}


def test_a_server_that_stops_in_the_middle_is_left(
    cache: Path, there: mirror.Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_READ_SECONDS", 0.2)
    there.fail(LAYER, lambda asked, answer: dataclasses.replace(answer, pieces=2, pause=0.6))
    with pytest.raises(UnavailableError, match="line broke"):
        get(cache)


def test_an_authority_of_ones_own_is_trusted_where_it_is_named(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    made = manager_certificate.make(
        "localhost", authority="ours", now=datetime.datetime.now(datetime.UTC)
    )
    (tmp_path / "server.pem").write_bytes(made.certificate + made.key)
    (tmp_path / "ca.pem").write_bytes(made.ca_certificate)
    with mirror.serving(repositories(), certificate=tmp_path / "server.pem") as serving:
        monkeypatch.setenv("LWS_KUEUE_MIRROR", serving.url)
        with pytest.raises(UnavailableError, match=r"certificate is not trusted.*SSL_CERT_FILE"):
            get(cache)
        assert not serving.asked
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert get(cache).is_dir()


def test_a_proxy_that_refuses_is_a_reason_and_not_a_time_out(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mirror.serving({}) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        started = time.monotonic()
        with pytest.raises(UnavailableError, match=r"registry.invalid.*cannot be reached"):
            get(cache)
        assert time.monotonic() - started < 5


def test_without_a_network_the_answer_comes_within_a_second_or_so(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither resolves nor refuses: the worst that a network does.
    over = threading.Event()

    def hang(*_: object) -> None:
        over.wait()
        raise OSError("too late")

    monkeypatch.setattr(socket, "create_connection", hang)
    started = time.monotonic()
    with pytest.raises(
        UnavailableError,
        match=r"no mirror is set, registry.invalid cannot be reached \(no answer within 1 s\)",
    ):
        get(cache)
    assert time.monotonic() - started < 3
    over.set()


def test_a_host_that_another_one_leads_to_is_not_waited_for_long_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = threading.Event()

    def hang(*_: object) -> None:
        over.wait()
        raise OSError("too late")

    monkeypatch.setattr(socket, "create_connection", hang)
    monkeypatch.setattr(transfer, "_CONNECT_SECONDS", 0.1)
    refused = pytest.raises(UnavailableError, match=r"store.invalid .*\(no answer within 0.1 s\)")
    with contextlib.closing(transfer.Client()) as client, refused:
        client.read("https://store.invalid/blob", limit=1)
    over.set()


@pytest.mark.parametrize("size", [-1, 11])
def test_what_is_said_to_be_larger_than_allowed_is_not_asked_for(
    tmp_path: Path, there: mirror.Mirror, size: int
) -> None:
    refused = pytest.raises(IntegrityError, match=f"{size} bytes, and 10 are allowed")
    with contextlib.closing(transfer.Client()) as client, refused:
        client.download(there.url, tmp_path / "x", digest=WRONG, size=size, limit=10, report=print)
    assert not there.asked


def test_a_file_of_no_bytes_is_a_file(tmp_path: Path) -> None:
    digest, into = images.digest(b""), tmp_path / "x"
    with contextlib.closing(transfer.Client()) as client:
        url = "https://store.invalid/blob"
        client.download(url, into, digest=digest, size=0, limit=10, report=print)
    assert into.read_bytes() == b""


def test_authorities_that_cannot_be_read_are_named_and_no_cache_is_blamed(
    cache: Path, there: mirror.Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent.pem")
    secure = there.url.replace("http://", "https://")
    refused = pytest.raises(cluster.ToolchainError, match=r"REQUESTS_CA_BUNDLE.*/nonexistent.pem")
    with contextlib.closing(transfer.Client()) as client, refused:
        client.read(f"{secure}/blob", limit=1)
    assert not cache.exists() or nothing_is_left(cache)


def test_what_two_runs_saw_otherwise_at_the_same_time_is_found_when_it_is_kept(
    cache: Path,
) -> None:
    known = seen.Seen(cache)
    known.keep("tool v1.0.0", HERE, table.Digests(index=WRONG))
    with pytest.raises(IntegrityError, match="what was seen before"):
        known.keep("tool v1.0.0", HERE, table.Digests(index=images.digest(b"another")))


def test_a_host_is_probed_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []

    def refuse(address: object, timeout: float) -> None:
        tried.append(address)
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", refuse)
    client = transfer.Client()
    first = table.Table(programs={"tool": TOOL}, files={})
    for _ in range(3):
        found = sources.reachable(client, first)
        assert found.passed_over[1:] == ("registry.invalid cannot be reached (Connection refused)",)
    with pytest.raises(UnavailableError, match="Connection refused"):
        client.read("https://registry.invalid/v2/", limit=1)
    assert tried == [("registry.invalid", 443)]


# What an archive does wrong.


def hard_link(architecture: str) -> list[tuple[tarfile.TarInfo, bytes]]:
    real = images.member("usr/other", images.program(architecture=architecture))
    return [real, images.member(TOOL.path, type=tarfile.LNKTYPE, linkname="usr/other")]


ARCHIVES: dict[str, tuple[Callable[[str], Sequence[tuple[tarfile.TarInfo, bytes]]], str]] = {
    "leads out of itself": (
        lambda a: [
            images.member("../../evil", b"evil"),
            images.member(TOOL.path, images.program(architecture=a)),
        ],
        "leads out of it",
    ),
    "leads out of itself from within": (
        lambda a: [
            images.member("usr/../../evil", b"evil"),
            images.member(TOOL.path, images.program(architecture=a)),
        ],
        "leads out of it",
    ),
    "has the program as a symbolic link": (
        lambda a: [images.member(TOOL.path, type=tarfile.SYMTYPE, linkname="/etc/passwd")],
        "no plain file",
    ),
    "has the program as a hard link": (hard_link, "no plain file"),
    "has the program as a device": (
        lambda a: [images.member(TOOL.path, type=tarfile.CHRTYPE, devmajor=1, devminor=5)],
        "no plain file",
    ),
    "has the program as a pipe": (
        lambda a: [images.member(TOOL.path, type=tarfile.FIFOTYPE)],
        "no plain file",
    ),
    "has the program twice": (
        lambda a: [images.member(TOOL.path, images.program(architecture=a))] * 2,
        "there twice",
    ),
    "is a bomb beside the program": (
        lambda a: [
            images.member("usr/zeros", bytes(4 << 20)),
            images.member(TOOL.path, images.program(architecture=a)),
        ],
        "larger than allowed",
    ),
    "is a bomb of the program itself": (
        lambda a: [images.member(TOOL.path, images.program(architecture=a) + bytes(4 << 20))],
        "no plain file|larger than allowed",
    ),
    "holds a program for another machine": (
        lambda a: [images.member(TOOL.path, images.program(architecture="arm64"))],
        "for another machine than amd64",
    ),
    "holds a script": (
        lambda a: [images.member(TOOL.path, b"#!/bin/sh\nrm -rf all\n")],
        "no program for Linux",
    ),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_layer_is_refused_that(
    cache: Path, tmp_path: Path, there: mirror.Mirror, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    make, text = ARCHIVES[name]
    there.repositories = repositories(make)
    monkeypatch.setattr(layers, "UNPACKED_LIMIT", 1 << 20)
    with pytest.raises(IntegrityError, match=text):
        get(cache)
    assert nothing_is_left(cache)
    assert not list(tmp_path.rglob("evil"))


def test_devices_and_links_beside_the_program_are_read_past(
    cache: Path, there: mirror.Mirror
) -> None:
    there.repositories = repositories(
        lambda architecture: [
            images.member("dev/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
            images.member("etc/link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
            images.member("/" + TOOL.path, images.program(architecture=architecture)),
        ]
    )
    place = get(cache)
    assert sorted(path.name for path in place.iterdir()) == [
        "provenance.json",
        "tool",
        "tool-manifests",
    ]


def test_a_sparse_file_that_claims_more_than_there_is_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo(TOOL.path)
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    info.pax_headers |= {"GNU.sparse.realsize": str(1 << 40), "GNU.sparse.name": TOOL.path}
    content = b"0\n".ljust(512, b"\0")
    info.size = len(content)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(content))
    (tmp_path / "layer").write_bytes(buffer.getvalue())
    with pytest.raises(IntegrityError, match="no plain file"):
        layers.extract(tmp_path / "layer", TOOL.path, tmp_path / "tool")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_an_archive_of_headers_that_lead_to_headers_is_refused(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type = kind
    header = info.tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "layer").write_bytes(header * 3000)
    with pytest.raises(IntegrityError, match="is no archive"):
        layers.extract(tmp_path / "layer", TOOL.path, tmp_path / "tool")


def test_an_image_without_the_program_is_of_no_use(cache: Path, there: mirror.Mirror) -> None:
    there.repositories = repositories(lambda architecture: [images.member("usr/other", b"x")])
    with pytest.raises(UnavailableError, match="has no usr/local/bin/tool"):
        get(cache)


def test_an_image_for_other_machines_only_is_of_no_use(cache: Path, there: mirror.Mirror) -> None:
    there.repositories = repositories(architectures=["arm64"])
    with pytest.raises(UnavailableError, match="not made for linux/amd64, only for linux/arm64"):
        get(cache)


def test_nothing_is_published_for_other_systems(cache: Path, there: mirror.Mirror) -> None:
    with pytest.raises(UnavailableError, match="nothing is published for darwin/arm64"):
        get(cache, wanted=table.platform_of("Darwin", "arm64"))


# What this machine does wrong.


RUN = """
import sys, pathlib, json
sys.path.insert(0, {root!r})
from tests.sandbox import test_releases
print(test_releases.get(pathlib.Path({cache!r})))
"""


def another_run(cache: Path) -> "subprocess.Popen[str]":
    code = RUN.format(root=str(ROOT), cache=str(cache))
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_runs_download_once_and_one_says_that_it_waits(
    cache: Path, there: mirror.Mirror
) -> None:
    there.fail(LAYER, lambda asked, answer: dataclasses.replace(answer, pieces=10, pause=0.3))
    both = [another_run(cache) for _ in range(2)]
    said = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0][0] == said[1][0]
    assert "another process is downloading tool; waiting for it" in said[0][1] + said[1][1]
    assert len(there.paths(layer_of(there))) == 1


def test_a_killed_run_leaves_nothing_half_made_and_the_next_goes_on(
    cache: Path, there: mirror.Mirror
) -> None:
    content = images.program("x") + os.urandom(1 << 20)
    there.repositories = repositories(
        lambda architecture: [images.member(TOOL.path, content)], architectures=["amd64"]
    )
    layer = layer_of(there)
    there.fail(layer, lambda asked, answer: dataclasses.replace(answer, pieces=4, pause=1), times=1)
    killed = another_run(cache)
    partial = layers_of(cache) / layer.replace(":", "-")
    wait_until(lambda: partial.exists() and partial.stat().st_size > 0)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not RELEASE.place(cache, HERE).exists()
    place = get(cache)
    assert (place / "tool").read_bytes() == content
    assert [bool(a.range) for a in there.asked if layer in a.path] == [False, True]
    assert not list(place.parent.glob(".*"))


def test_a_damaged_rest_of_a_killed_run_is_downloaded_anew(
    cache: Path, there: mirror.Mirror
) -> None:
    rest = layers_of(cache) / layer_of(there).replace(":", "-")
    rest.parent.mkdir(parents=True)
    rest.write_bytes(b"damaged")
    assert (get(cache) / "tool").read_bytes() == images.program(TOOL.path)


def test_a_full_disk_is_said_and_gets_its_room_back(
    cache: Path, there: mirror.Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = layers._copy

    def fail(source: object, into: Path) -> None:
        into.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(layers, "_copy", fail)
    with pytest.raises(sandbox.ToolchainError, match=r"No space left.*make room.*LWS_KUEUE_CACHE"):
        get(cache)
    assert nothing_is_left(cache)
    assert no_layer_is_left(cache)
    monkeypatch.setattr(layers, "_copy", copy)
    assert get(cache).is_dir()


def test_a_disk_that_is_full_while_a_layer_comes_keeps_none_of_it(
    cache: Path, there: mirror.Mirror
) -> None:
    content = images.program("x") + os.urandom(2 << 20)
    there.repositories = repositories(
        lambda architecture: [images.member(TOOL.path, content)], architectures=["amd64"]
    )
    with small_files(1 << 20), pytest.raises(sandbox.ToolchainError, match="cannot be written"):
        get(cache)
    assert no_layer_is_left(cache)


@contextlib.contextmanager
def small_files(limit: int) -> Iterator[None]:
    """Let the kernel refuse files that are larger; it says so as it does of a full disk."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_cache_that_cannot_be_written_is_said_and_one_that_is_filled_serves(
    cache: Path, there: mirror.Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = get(cache)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert get(cache) == place
    with pytest.raises(sandbox.ToolchainError, match=r"Read-only.*make it writable"):
        get(cache, wanted=table.Platform("linux", "arm64"))


# The table.


def test_the_table_is_the_one_that_its_own_writer_would_write() -> None:
    text = table.TABLE.read_text()
    head = text.partition("\n\n")[0]
    assert table.render(table.known(), head=head) == text


def test_another_version_of_a_release_has_no_pins() -> None:
    content = table.of_version(pinned(index=WRONG, program=WRONG).content, "v2.0.0")
    assert content.programs["tool"].pinned(HERE) == table.Digests()
    assert content.files["tool-manifests"].version == "v2.0.0"
    same = table.of_version(pinned(index=WRONG).content, VERSION)
    assert same.programs["tool"].index == WRONG


def test_the_table_names_what_is_built_in_the_same_versions() -> None:
    from lws_kueue_lab.sandbox import binaries

    known = table.known().programs
    for module in binaries.MODULES:
        assert {known[tool].version for tool in module.tools} == {module.version}
    assert set(known) == {tool for m in binaries.MODULES for tool in m.tools} | {"kueue"}


@pytest.mark.parametrize(
    ("machine", "architecture"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("riscv64", "riscv64")]
)
def test_machines_are_called_as_images_call_them(machine: str, architecture: str) -> None:
    assert table.platform_of("Linux", machine) == table.Platform("linux", architecture)
