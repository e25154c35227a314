"""The programs of the sandbox: from the cache, a mirror, official releases, or built.

The order is that. What is released comes by `downloads`, into a folder by version and platform.
Each module under `toolchain/` is built on its own and cached under a key made of everything that
decides the result: its `go.mod`, its `go.sum`, the tools and the build flags. Either happens in a
directory beside the final place and is renamed, under a lock, so that a killed one leaves nothing
half-made and two processes do not do the same thing.
"""

import dataclasses
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lws_kueue_lab.sandbox import cluster, downloads, engine, intact, locks, progress
from lws_kueue_lab.sandbox.releases import obtain, table
from lws_kueue_lab.sandbox.releases.errors import UnavailableError

_TOOLCHAIN = Path(__file__).parent / "toolchain"
_BUILD_FLAGS = ("-trimpath", "-mod=readonly", "-buildvcs=false")
_BUILD_IMAGE = "golang:1.26"
# What a container has to know of the user's environment: the target, and ways out.
_PASSED_ON = ("GOOS", "GOPROXY", "GOSUMDB", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One Go module of the toolchain: its directory, version, tools by name and linker flags.

    `typical` says how long a first build takes on two cores, for the progress display.
    """

    name: str
    version: str
    tools: Mapping[str, str]
    typical: str
    linker_flags: tuple[str, ...] = ("-s", "-w")

    @property
    def source(self) -> Path:
        """The directory with `go.mod` and `go.sum`."""
        return _TOOLCHAIN / self.name

    @property
    def flags(self) -> tuple[str, ...]:
        """What `go build` is given besides the packages."""
        return (*_BUILD_FLAGS, "-ldflags", " ".join(self.linker_flags))

    def key(self, system: str) -> str:
        """The name of this module's place in the cache, built for an operating system."""
        digest = hashlib.sha256()
        target = f"{system} {platform.machine()}"
        for text in (target, *self.flags, *sorted(self.tools.values())):
            digest.update(text.encode() + b"\0")
        for file in ("go.mod", "go.sum"):
            digest.update((self.source / file).read_bytes() + b"\0")
        return f"{self.name}-{self.version}-{digest.hexdigest()[:16]}"


KUBERNETES = Module(
    name="kubernetes",
    version="v1.36.3",
    tools={
        name: f"k8s.io/kubernetes/cmd/{name}"
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
    },
    typical="5 to 8 minutes",
    linker_flags=(
        "-s",
        "-w",
        # The API server and clients tell features by their version; a plain build has none.
        "-X k8s.io/component-base/version.gitVersion=v1.36.3",
        "-X k8s.io/component-base/version.gitMajor=1",
        "-X k8s.io/component-base/version.gitMinor=36",
        "-X k8s.io/client-go/pkg/version.gitVersion=v1.36.3",
    ),
)
ETCD = Module(
    name="etcd",
    version="v3.6.8",
    tools={"etcd": "go.etcd.io/etcd/server/v3"},
    typical="under a minute",
)
KWOK = Module(
    name="kwok",
    version="v0.8.0",
    tools={"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
    typical="one to two minutes",
)
MODULES = (KUBERNETES, ETCD, KWOK)
# No part of a sandbox: it renders and installs the chart in tests.
HELM = Module(
    name="helm",
    version="v4.3.2",
    tools={"helm": "helm.sh/helm/v4/cmd/helm"},
    typical="two to three minutes",
)


def cache_directory() -> Path:
    """Where builds are kept: `LWS_KUEUE_CACHE`, else the user's XDG cache."""
    if override := os.environ.get("LWS_KUEUE_CACHE"):
        return Path(override).expanduser().resolve()
    base = Path(os.environ.get("XDG_CACHE_HOME", "")).expanduser()
    # The specification has a path that is not absolute ignored.
    return (base if base.is_absolute() else Path("~/.cache").expanduser()) / "lws-kueue"


def helm(system: str = platform.system()) -> Path:
    """The program that installs charts; built on its own, where somebody asks for it.

    Raises `NoBuilderError` at once if it is not there and nothing here can build it.
    """
    place = _built(HELM, system)
    if not place.is_dir():
        _build_once(HELM, find_builder(), system)
    intact.check(place)
    return place / "helm"


def missing(system: str) -> list[Module]:
    """The modules whose programs the cache does not hold."""
    return [module for module in MODULES if not _place(module, system).is_dir()]


def ensure(system: str = platform.system()) -> dict[str, Path]:
    """The programs by name; downloads or builds first what is missing, which happens once.

    `system` is where they will run, in the words of `platform.system`. Raises `NoBuilderError` if
    something is missing, cannot be downloaded, and nothing here can build it; and `IntegrityError`
    if what is or was downloaded is not what it has to be, or was changed since it came or was
    built: then nothing is built in its place.
    """
    absent = missing(system)
    if absent:
        to_build, reason = _download(absent, system)
        if to_build:
            builder = find_builder(reason)
            names = ", ".join(f"{module.name} {module.version}" for module in to_build)
            print(f"[sandbox] {names}: to be built, {reason}", file=sys.stderr, flush=True)
            for module in to_build:
                _build_once(module, builder, system)
    return {tool: _place(module, system) / tool for module in MODULES for tool in module.tools}


def releases(modules: Sequence[Module] = MODULES) -> list[downloads.Release]:
    """What is published of the modules' programs."""
    known = table.known()
    return [
        downloads.Release(
            name=module.name, version=module.version, content=table.only(known, *module.tools)
        )
        for module in modules
    ]


def verify(wanted: table.Platform) -> Iterator[str]:
    """Yield a line for each program that is what it has to be, by its digest.

    Raises IntegrityError for the first that is another one, and UnavailableError for what is
    missing.
    """
    for module, release in zip(MODULES, releases(), strict=True):
        built = _built_for(module, release, wanted)
        if built is None:
            yield from downloads.verify(release, cache_directory(), wanted)
            continue
        digests = intact.compare(built)
        for tool in module.tools:
            told = digests.get(tool)
            compared = (
                f"{told} (compared with: what was built)"
                if told
                else "built, and nothing was kept to compare it with"
            )
            yield f"{tool} {module.version}: {compared}"


def is_built(wanted: table.Platform) -> bool:
    """Whether some of the programs are those that were built."""
    return any(
        _built_for(module, release, wanted) is not None
        for module, release in zip(MODULES, releases(), strict=True)
    )


def _built_for(module: Module, release: downloads.Release, wanted: table.Platform) -> Path | None:
    """Where a module was built, if it was built, for this machine, and not downloaded."""
    system = platform.system()
    place = _built(module, system)
    if release.place(cache_directory(), wanted).is_dir() or wanted != table.platform_of(system):
        return None
    return place if place.is_dir() else None


def _download(modules: Sequence[Module], system: str) -> tuple[list[Module], str]:
    """Download what is to be had; returns the modules that are not, and why."""
    wanted = table.platform_of(system)
    left, reasons = [], []
    with downloads.opened(cache_directory(), table.known()) as downloader:
        for module, release in zip(modules, releases(modules), strict=True):
            try:
                downloader.get(release, wanted)
            except UnavailableError as error:
                left.append(module)
                reasons.append(str(error))
    return left, "; ".join(dict.fromkeys(reasons))


class Builder:
    """Runs `go build`; this one with the Go of this machine."""

    description = "the Go toolchain of this machine"

    def command(self, module: Module, *, into: Path) -> list[str]:
        """The command line that builds all tools of `module` into the directory `into`."""
        return ["go", "build", "-v", *module.flags, "-o", f"{into}/", *module.tools.values()]

    def environment(self, system: str) -> dict[str, str]:
        """The user's environment, which may name proxies, less what would change the build.

        GOTOOLCHAIN stays the user's: `auto` fetches a newer Go by itself, `local` does not.
        """
        return os.environ | {
            "CGO_ENABLED": "0",
            "GOFLAGS": "-mod=readonly",
            "GOOS": system.lower(),
            "GOWORK": "off",
        }


class DockerBuilder(Builder):
    """Runs `go build` in a container, for machines with Docker and without Go."""

    description = f"Go in a container ({_BUILD_IMAGE})"

    def command(self, module: Module, *, into: Path) -> list[str]:
        """Mount the module read-only and the output directory, keep Go's caches in a volume."""
        return [
            *("docker", "run", "--rm", "-w", "/module"),
            *("-v", f"{module.source}:/module:ro", "-v", f"{into}:/out"),
            *("-v", "lws-kueue-go-cache:/cache"),
            *("-e", "GOCACHE=/cache/build", "-e", "GOMODCACHE=/cache/modules"),
            *("-e", "CGO_ENABLED=0"),
            *(word for name in _PASSED_ON for word in ("-e", name)),
            # What root in the container writes has to belong to the user, who moves it.
            *("-e", f"OWNER={os.getuid()}:{os.getgid()}"),
            *(_BUILD_IMAGE, "sh", "-ec", '"$@"; chown -R "$OWNER" /out', "build"),
            *super().command(module, into=Path("/out")),
        ]


def find_builder(not_downloaded: str = "") -> Builder:
    """What can build here: a Go that is new enough, else Docker; else `NoBuilderError`.

    `not_downloaded` says why there is nothing to download instead.
    """
    problem = _problem_with_go()
    if problem is None:
        return Builder()
    if shutil.which("docker") and engine.answers():
        return DockerBuilder()
    instead = f" Nor can they be downloaded: {not_downloaded}." if not_downloaded else ""
    raise cluster.NoBuilderError(
        f"The sandbox has to build its programs once, and cannot: {problem}, and no Docker "
        f"engine answers.{instead}\n"
        f"Install Go {_required_go()} or newer (https://go.dev/doc/install) "
        "or start Docker, then run the same command again."
    )


def _problem_with_go() -> str | None:
    if shutil.which("go") is None:
        return "there is no `go` command"
    # Run in the module, Go itself compares its version with the one that the module asks for.
    result = subprocess.run(
        ["go", "version"], cwd=KUBERNETES.source, capture_output=True, text=True, check=False
    )
    if result.returncode == 0 and not _older_than_required(result.stdout):
        return None
    return "the `go` command is too old or does not work: " + (
        (result.stderr or result.stdout).strip().replace("\n", " ")
    )


def _older_than_required(go_version: str) -> bool:
    """Whether `go version` printed one below the required; releases before 1.21 do not refuse."""
    words = go_version.split()
    if len(words) < 3 or not words[2].startswith("go1."):
        return False  # A development build says `devel`.
    return _release(words[2].removeprefix("go")) < _release(_required_go())


def _release(version: str) -> tuple[int, ...]:
    digits = "".join(c if c.isdigit() or c == "." else " " for c in version).split()[0]
    return tuple(int(part) for part in digits.split(".") if part)[:2]


def _required_go() -> str:
    for line in (KUBERNETES.source / "go.mod").read_text().splitlines():
        if line.startswith("go "):
            return line.removeprefix("go ").strip()
    raise cluster.ToolchainError("the go.mod of the sandbox names no Go version")


def _place(module: Module, system: str) -> Path:
    """Where the programs of a module are, or would be built: what was downloaded goes first.

    Raises IntegrityError for programs that are not what they were.
    """
    (release,) = releases([module])
    downloaded = downloads.kept(release, cache_directory(), table.platform_of(system))
    if downloaded:
        return downloaded
    built = _built(module, system)
    intact.check(built)
    return built


def _built(module: Module, system: str) -> Path:
    return cache_directory() / "binaries" / module.key(system)


def _build_once(module: Module, builder: Builder, system: str) -> None:
    place = _built(module, system)
    waiting = f"another process is building {module.name}; waiting for it"
    with obtain.cache_errors(cache_directory()):
        place.parent.mkdir(parents=True, exist_ok=True)
        with locks.held(place.with_suffix(place.suffix + ".lock"), waiting=waiting):
            if place.is_dir():
                return
            obtain.sweep(place)
            partial = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
            try:
                _build(module, builder, system=system, into=partial)
                intact.keep(partial, module.tools)
                partial.chmod(0o755)
                partial.rename(place)
            finally:
                shutil.rmtree(partial, ignore_errors=True)


def _build(module: Module, builder: Builder, *, system: str, into: Path) -> None:
    title = f"building {module.name} {module.version}"
    hint = f"{module.typical} the first time, kept for later runs"
    with progress.Progress(title, hint=f"{hint}; {builder.description}") as shown:
        process = subprocess.Popen(
            builder.command(module, into=into),
            cwd=module.source,
            env=builder.environment(system),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                tail = shown.follow(process)
            except BaseException:
                # Not killed: `docker run` has to pass the signal on to its container.
                process.terminate()
                raise
        if process.returncode != 0:
            raise cluster.ToolchainError(f"{title} failed:\n" + "\n".join(tail))
    for tool, package in module.tools.items():
        (into / _go_name(package)).rename(into / tool)


def _go_name(package: str) -> str:
    """What `go build` calls the program of a package: its last element but for a version."""
    *parents, last = package.split("/")
    is_version = last.startswith("v") and last[1:].isdigit()
    return parents[-1] if is_version else last
