"""The command line of the controller: that of the Go manager and a little more (lws-contract 9.1).

The arguments of the Go manager's manifests are taken as they stand. A flag, or its environment
variable, replaces what the file says only when it is given.
"""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from lws_kueue.manager import logs
from lws_kueue.manager.settings import configuration, go_values
from lws_kueue.runtime import build_info

ENVIRONMENT: Final = "LWS_KUEUE"

# Which setting of the file a flag stands for, by the names of the attributes.
SETTINGS: Final[Mapping[str, str]] = {
    "leader_elect": "leader_election.leader_elect",
    "leader_elect_lease_duration": "leader_election.lease_duration",
    "leader_elect_renew_deadline": "leader_election.renew_deadline",
    "leader_elect_retry_period": "leader_election.retry_period",
    "leader_elect_resource_lock": "leader_election.resource_lock",
    "leader_elect_resource_name": "leader_election.resource_name",
    "metrics_bind_address": "metrics.bind_address",
    "health_probe_bind_address": "health.health_probe_bind_address",
    "kube_api_qps": "client_connection.qps",
    "kube_api_burst": "client_connection.burst",
}

_Command = TypeVar("_Command", bound=Callable[..., Any])


class _Parsed(click.ParamType[Any]):
    """A type of flag made of the function that parses its text."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _positive_duration(text: str) -> float:
    seconds = go_values.duration(text)
    if seconds <= 0:
        raise ValueError(f"{text!r} is not a positive duration")
    return seconds


def _bind_address(text: str) -> str:
    # As in the Go manager, an empty address is no server.
    go_values.address(text or "0")
    return text or "0"


def _finite(text: str) -> float:
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text, re.ASCII | re.IGNORECASE):
        raise ValueError(f"{text!r} is not a number")
    return float(text)


_BOOLEAN: Final = _Parsed("boolean", go_values.boolean)
_DURATION: Final = _Parsed("duration", _positive_duration)
_ADDRESS: Final = _Parsed("address", _bind_address)
_NUMBER: Final = _Parsed("number", _finite)
_LEVEL: Final = _Parsed("level", logs.level)

kubeconfig: Final = click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False),
    envvar="KUBECONFIG",
    help="Kubeconfig file (or KUBECONFIG); without one, the pod's service account.",
)
context: Final = click.option("--context", help="Context of the kubeconfig file.")


def _switch(name: str, **more: Any) -> Callable[[_Command], _Command]:
    """An option as Go has them for truth values: `--name`, `--name=false`."""
    return click.option(name, is_flag=False, flag_value="true", type=_BOOLEAN, **more)


_version: Final = _switch(
    "--version",
    is_eager=True,
    expose_value=False,
    allow_from_autoenv=False,
    callback=lambda ctx, _, value: print_version(ctx) if value else None,
    help="Print version, build date and commit, and exit.",
)

_OPTIONS: Final = (
    kubeconfig,
    context,
    click.option(
        "--config",
        "config_file",
        envvar=f"{ENVIRONMENT}_CONFIG",
        metavar="FILE",
        help=f"Configuration, kind {configuration.KIND} of {configuration.API_VERSION}.",
    ),
    click.option(
        "--dry-run",
        is_flag=True,
        help="Say what would be done to each set, write nothing, and end.",
    ),
    _switch("--leader-elect", help="Work only while this process is the elected one. [true]"),
    click.option("--leader-elect-lease-duration", type=_DURATION, help="[15s]"),
    click.option("--leader-elect-renew-deadline", type=_DURATION, help="[10s]"),
    click.option("--leader-elect-retry-period", type=_DURATION, help="[2s]"),
    click.option("--leader-elect-resource-lock", type=click.Choice(["leases"]), help="[leases]"),
    click.option("--leader-elect-resource-name", help="Name of the Lease. [b8b2488c.x-k8s.io]"),
    click.option("--metrics-bind-address", type=_ADDRESS, help="0 for no metrics. [:8443]"),
    click.option("--health-probe-bind-address", type=_ADDRESS, help="0 for no probes. [:8081]"),
    click.option("--kube-api-qps", type=_NUMBER, help="Requests a second. [500]"),
    click.option("--kube-api-burst", type=click.IntRange(0), help="Requests at once. [500]"),
    click.option("--verbose", is_flag=True, help="The same as --zap-log-level=debug."),
    click.option("--zap-log-level", type=_LEVEL, help="debug, info, error, or a verbosity. [info]"),
    click.option("--zap-encoder", type=click.Choice(["console", "json"]), help="[console]"),
    click.option("--zap-time-encoding", type=click.Choice(logs.TIME_ENCODINGS)),
    _switch("--zap-devel", help="false is the same as --zap-encoder=json."),
    click.option(
        "--zap-stacktrace-level",
        type=click.Choice(["info", "error", "panic"]),
        help="Taken, without effect: what was not foreseen is logged with its trace.",
    ),
    _version,
)


class Command(click.Command):
    """A command that takes long options with one dash as well, as Go programs do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse arguments after giving each long option its second dash."""
        return super().parse_args(ctx, [re.sub(r"^-(?=[a-z]{2})", "--", arg) for arg in args])


def options(command: _Command) -> _Command:
    """Add all options of the controller to a command."""
    return functools.reduce(lambda so_far, option: option(so_far), reversed(_OPTIONS), command)


def print_version(ctx: click.Context) -> None:
    """Print which build this is, and end."""
    click.echo(build_info.describe())
    ctx.exit()


def given(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that flags or the environment replace."""
    return {path: flags[name] for name, path in SETTINGS.items() if flags[name] is not None}
