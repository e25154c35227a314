"""What every command takes, and how it ends where something is wrong."""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from lws_kueue import interruption
from lws_kueue.api import printable
from lws_kueue.kubectl import access, connection, screen
from lws_kueue.runtime import asking

ApiError = asking.ApiError

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Where:
    """Which API server, and which namespace of it; ``everywhere`` is all of them."""

    kubeconfig: str | None
    context: str | None
    given_namespace: str | None = None
    everywhere: bool = False

    def connect(self) -> tuple[connection.Connection, str]:
        """Return a connection, and the namespace that is meant; "" for all."""
        found = access.load(kubeconfig=self.kubeconfig, context=self.context)
        namespace = "" if self.everywhere else self.given_namespace or found.namespace
        return connection.Connection(found), namespace


def _completed(kind: str) -> Callable[..., list[str]]:
    """Return what completes a word; it is loaded when somebody asks."""

    def complete(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
        from lws_kueue.kubectl import completion

        return completion.words(kind, context.params, begun)

    return complete


NAME: Final = click.argument("name", shell_complete=_completed("sets"))
OPTIONAL_NAME: Final = click.argument("name", required=False, shell_complete=_completed("sets"))
EVERYWHERE: Final = click.option(
    "-A", "--all-namespaces", "everywhere", is_flag=True, help="In all namespaces."
)
GROUP: Final = click.option("--group", type=click.IntRange(0), required=True, help="Its index.")
FORMAT: Final = click.option(
    "-o",
    "--output",
    "format_",
    type=click.Choice(["table", "wide", "json", "yaml"]),
    default="table",
    show_default=True,
    help="How to show it.",
)

_WHERE: Final = (
    click.option(
        "-n", "--namespace", shell_complete=_completed("namespaces"), help="Of the context if none."
    ),
    click.option("--context", shell_complete=_completed("contexts"), help="Of the kubeconfig."),
    click.option("--kubeconfig", type=click.Path(), help="Else KUBECONFIG, else ~/.kube/config."),
)


def command(run: _Command) -> _Command:
    """Give a command ``where``, and let it end with one line where something is wrong."""

    @functools.wraps(run)
    def wrapped(
        *, namespace: str | None, context: str | None, kubeconfig: str | None, **given: Any
    ) -> None:
        where = Where(kubeconfig, context, namespace, bool(given.pop("everywhere", False)))
        try:
            run(where, **given)
        except asking.NoServerError as error:
            _end(str(error))
        except asking.ApiError as error:
            _end(told(error))
        except (LookupError, ValueError) as error:
            _end(str(error.args[0] if error.args else error))
        except BrokenPipeError:
            sys.stderr.close()  # Whoever reads has read enough.
        except KeyboardInterrupt:
            sys.exit(interruption.STATUS)

    for option in reversed(_WHERE):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]


def shown(
    answer: Any, blocks: Callable[[bool], list[screen.Block]], format_: screen.Format
) -> None:
    """Show an answer in the format that was asked for; ``blocks`` takes whether it is wide."""
    if format_ in ("json", "yaml"):
        click.echo(screen.dumped(answer, format_), nl=False)
    else:
        screen.show(blocks(format_ == "wide"))


def noted(notes: tuple[str, ...]) -> None:
    """Say on standard error what is missing in an answer."""
    for note in notes:
        click.echo(printable.escaped(note), err=True)


def told(error: asking.ApiError) -> str:
    """Say what is wrong and what to do about an answer that was refused, or did not come."""
    if error.status == 0:
        return (
            f"the API server does not answer: {error.message}. Is it up, and is the context right?"
        )
    if error.status == 401:
        return "the API server does not know you: log in again, or give another --context"
    if error.status == 403:
        return (
            f"you may not do that: {error.message}. Ask an administrator for the ClusterRole"
            " lws-kueue-kubectl-viewer to read, and for `edit` to write"
        )
    if error.status == 404:
        return (
            f"{error.message or 'the API server does not serve it'}. If it is the kind that is not"
            " known, `lws-kueue install` installs it"
        )
    return str(error)


def _end(message: str) -> None:
    click.echo(f"kubectl lws: {printable.escaped(message)}", err=True)
    sys.exit(1)
