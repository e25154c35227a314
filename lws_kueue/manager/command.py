"""`lws-kueue run`."""

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Any, Final

import click

from lws_kueue.api import printable
from lws_kueue.install import preflight
from lws_kueue.manager import dry_run, logs, process
from lws_kueue.manager.leader import election
from lws_kueue.manager.settings import configuration, flags, resolve
from lws_kueue.runtime import build_info, client

logger = logging.getLogger(__name__)

# The status of a dry run that finds pods which would be replaced or stopped; that of a wrong
# command line is 2.
DISTURBS: Final = 3

# What is wrong outside of the program, to be told in words.
_TOLD: Final = (
    configuration.ConfigurationError,
    preflight.Unfit,
    client.ApiError,
    client.NoServerError,
    election.NoElectionError,
    election.LeaseLostError,
)


@click.command(
    "run",
    cls=flags.Command,
    context_settings={"auto_envvar_prefix": flags.ENVIRONMENT},
)
@flags.options
def run_command(kubeconfig: str | None, context: str | None, **flag: Any) -> None:
    """Run the controller until interrupted.

    Every option can be set by an environment variable as well, LWS_KUEUE_LEADER_ELECT for
    --leader-elect. An option goes before its variable, and both before the configuration file.

    With --dry-run it says what it would do to each set, and ends with status 0 where no pod would
    be replaced or stopped, 3 where some would, and 1 where it could not find out.
    """
    _set_up_logs(flag)
    try:
        file = _configuration(flag["config_file"])
        wanted = resolve.resolve(file, given=flags.given(flag))
        _announce(file, flag)
        if flag["dry_run"]:
            report = asyncio.run(dry_run.look(wanted, kubeconfig=kubeconfig, context=context))
            click.echo(dry_run.text(report))
            sys.exit(DISTURBS if report.disturbs else 0)
        asyncio.run(process.run(wanted, kubeconfig=kubeconfig, context=context))
    except _TOLD as error:
        click.echo(f"lws-kueue: {printable.escaped(str(error))}", err=True)
        sys.exit(1)


def _set_up_logs(flag: dict[str, Any]) -> None:
    encoder: logs.Encoder = "json" if flag["zap_devel"] is False else "console"
    level = flag["zap_log_level"]
    if level is None:
        level = logging.DEBUG if flag["verbose"] else logging.INFO
    logs.set_up(
        level=level, encoder=flag["zap_encoder"] or encoder, time_encoding=flag["zap_time_encoding"]
    )


def _configuration(path: str | None) -> configuration.Configuration:
    return configuration.load(Path(path)) if path else configuration.Configuration()


def _announce(file: configuration.Configuration, flag: dict[str, Any]) -> None:
    """Say which build this is, and what was asked for and cannot have an effect."""
    logger.info("Starting %s", build_info.user_agent())
    idle = [f"{section} of the configuration" for section in file.without_effect()]
    if "ENABLE_WEBHOOKS" in os.environ:
        idle.append("ENABLE_WEBHOOKS of the environment")
    if idle:
        logger.info("Without effect, because there are no webhooks: %s", ", ".join(idle))
    if flag["zap_stacktrace_level"]:
        logger.info("Without effect: --zap-stacktrace-level")
