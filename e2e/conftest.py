"""Fixtures of the whole-system tests: which cluster they run on, and a namespace for each test.

By default a sandbox of processes is started, one for each pytest-xdist worker. `--backend` and
`--kubeconfig` choose another one; the tests are the same.
"""

import contextlib
import os
import re
import secrets
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import engine, kueue

from tests.kit import interrupts
from tests.kit.live import handing_out, harness, named_kueue
from tests.kit.live.fixtures import controller, installed, shared_controller

__all__ = ["controller", "installed", "shared_controller"]

OPTIONS = sandbox.Options(nodes=8, topology=sandbox.Topology(blocks=2, racks=2))

_CLUSTER = pytest.StashKey[sandbox.Sandbox]()
_KUEUE = pytest.StashKey[str]()

OpenCluster = Callable[[sandbox.Options], sandbox.Sandbox]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cluster")
    group.addoption(
        "--backend",
        choices=["process", "container", "kubeconfig"],
        help="what the tests run on; kubeconfig if --kubeconfig is given, else process",
    )
    group.addoption("--kubeconfig", type=Path, help="use the cluster of this kubeconfig")


def pytest_configure(config: pytest.Config) -> None:
    interrupts.heeded()
    given = config.getoption("--kubeconfig")
    if given and getattr(config.option, "numprocesses", None):
        raise pytest.UsageError("tests on a given cluster cannot run side by side: use -n 0")
    of_processes = not given and config.getoption("--backend") in (None, "process")
    if of_processes and not hasattr(config, "workerinput") and not config.option.collectonly:
        try:
            named_kueue.name_released()
        except sandbox.SandboxError as error:
            raise pytest.UsageError(str(error)) from error


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order what is left once tests were deselected."""
    items[:] = handing_out.handed_out(items)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that prints the summary; only a worker of pytest-xdist has this channel."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None and _KUEUE in session.config.stash:
        output["kueue"] = session.config.stash[_KUEUE]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    if "kueue" in (getattr(node, "workeroutput", None) or {}):
        node.config.stash[_KUEUE] = node.workeroutput["kueue"]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say which Kueue decided, as a stand-in proves less than a real one, and what was measured."""
    if _KUEUE in config.stash:
        terminalreporter.write_line(f"Kueue in these tests: {config.stash[_KUEUE]}")
    for report in terminalreporter.getreports("passed"):
        # A worker of pytest-xdist hands them on.
        for key, value in report.user_properties:
            if key == "note":
                terminalreporter.write_line(str(value))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say beside a failure if a component of the cluster died."""
    report = yield
    if report.failed and _CLUSTER in item.session.stash:
        try:
            item.session.stash[_CLUSTER].check()
        except sandbox.SandboxError as error:
            report.sections.append(("cluster", str(error)))
    return report


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> sandbox.Backend:
    """The back end that the command line names."""
    chosen = request.config.getoption("--backend")
    if chosen is None:
        chosen = "kubeconfig" if request.config.getoption("--kubeconfig") else "process"
    return cast("sandbox.Backend", chosen)


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, backend: sandbox.Backend) -> Iterator[sandbox.Sandbox]:
    """The cluster that all tests of a worker share: 8 nodes, 2 blocks of 2 racks of 2 hosts."""
    kubeconfig = request.config.getoption("--kubeconfig")
    with opening(backend, options=OPTIONS, kubeconfig=kubeconfig) as opened:
        request.session.stash[_CLUSTER] = opened
        yield opened
        del request.session.stash[_CLUSTER]


@pytest.fixture(scope="session")
def kueue_info(
    cluster: sandbox.Sandbox, request: pytest.FixtureRequest
) -> Iterator[sandbox.KueueInfo]:
    """The Kueue that serves the shared cluster: its own, a manager, or the stand-in."""
    with kueue.start(cluster, mode="auto") as info:
        cluster.kueue = info
        request.config.stash[_KUEUE] = str(info)
        yield info


@pytest.fixture
def fresh_cluster(backend: sandbox.Backend) -> Iterator[OpenCluster]:
    """Open clusters that a test has for itself; they end with it."""
    skip_if_given(backend)
    with contextlib.ExitStack() as stack:

        def open_cluster(options: sandbox.Options) -> sandbox.Sandbox:
            return stack.enter_context(opening(backend, options=options))

        yield open_cluster


@pytest.fixture
def process_only(backend: sandbox.Backend) -> None:
    """Skip a test of what only the process back end can do."""
    if backend != "process":
        pytest.skip(f"the {backend} back end does not own the processes")


def namespace_of(request: pytest.FixtureRequest) -> str:
    """Return a name for the namespace of a test, which no other one has."""
    slug = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:40].strip("-")
    return f"{slug}-{secrets.token_hex(3)}"


@pytest.fixture
def namespace(request: pytest.FixtureRequest, cluster: sandbox.Sandbox) -> Iterator[str]:
    """A fresh namespace that is deleted, without waiting for it, when the test is over."""
    with harness.own_namespace(cluster, namespace_of(request)) as name:
        yield name


def skip_if_given(backend: sandbox.Backend) -> None:
    """Skip what only runs in a cluster that is opened for it."""
    if backend == "kubeconfig":
        pytest.skip("needs a cluster of its own, which a given kubeconfig cannot provide")


@contextlib.contextmanager
def own_cluster(backend: sandbox.Backend, options: sandbox.Options) -> Iterator[sandbox.Sandbox]:
    """A cluster that the fixture of a whole file has for itself; see `fresh_cluster` for a test."""
    skip_if_given(backend)
    with opening(backend, options=options) as opened:
        yield opened


@contextlib.contextmanager
def opening(backend: sandbox.Backend, **arguments: Any) -> Iterator[sandbox.Sandbox]:
    if backend == "container" and (problem := engine.problem()):
        pytest.skip(f"no container back end: {problem}")
    try:
        context = contextlib.ExitStack()
        opened = context.enter_context(sandbox.open(backend, **arguments))
    except sandbox.NoBuilderError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    with context:
        yield opened
