"""Completion of `kubectl lws`, as kubectl asks plugins for it.

kubectl runs `kubectl_complete-lws` with the words so far, of which the last one is begun, and takes
a line for each choice and at last a number that says what shells should do besides: nothing.
`kubectl-lws` itself completes as every program of click's does.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click
from click import shell_completion

from lws_kueue.kubectl import access, command, options
from lws_kueue.runtime import asking, resources

# ShellCompDirectiveNoFileComp of the library that kubectl is made with.
_NO_FILES: Final = ":4"


def words(kind: str, params: Mapping[str, Any], begun: str) -> list[str]:
    """Return the names of sets, namespaces or contexts that begin so; none if nobody tells.

    ``params`` are the options that were given so far.
    """
    try:
        found = _found(kind, params)
    except (asking.ApiError, asking.NoServerError):
        return []
    return [one for one in found if one.startswith(begun)]


def _found(kind: str, params: Mapping[str, Any]) -> list[str]:
    kubeconfig = params.get("kubeconfig")
    if kind == "contexts":
        return access.contexts(kubeconfig=kubeconfig)
    where = options.Where(kubeconfig, params.get("context"), params.get("namespace"))
    server, namespace = where.connect()
    resource = resources.SETS if kind == "sets" else resources.NAMESPACES
    within = namespace if kind == "sets" else ""
    found = asyncio.run(server.listed(resource, namespace=within))
    return sorted(str(one["metadata"]["name"]) for one in found)


def choices(given: Sequence[str]) -> list[str]:
    """Return what may stand in place of the last of the words given."""
    *before, begun = given or [""]
    complete = shell_completion.ShellComplete(command.main, {}, "kubectl-lws", "_KUBECTL_LWS")
    found = complete.get_completions(list(before), begun)
    return [f"{one.value}\t{one.help}" if one.help else str(one.value) for one in found]


def main() -> None:
    """Print what kubectl asks for."""
    for choice in choices(sys.argv[1:]):
        click.echo(choice)
    click.echo(_NO_FILES)
