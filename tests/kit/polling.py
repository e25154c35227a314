"""Polling, for what no watch can tell: a check is tried until it passes."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import tenacity
from lws_kueue_lab.sandbox import client

P = ParamSpec("P")
T = TypeVar("T")

_UNMET = (AssertionError, LookupError)


def _unmet(error: BaseException) -> bool:
    # What is not there yet is a check that failed; any other answer is an error.
    gone = isinstance(error, client.ApiError) and error.status == 404
    return gone or isinstance(error, _UNMET)


def _while(
    fails_so: Callable[[BaseException], bool], *, timeout: float, every: float
) -> tenacity.Retrying:
    return tenacity.Retrying(
        stop=tenacity.stop_after_delay(timeout),
        wait=tenacity.wait_fixed(every),
        retry=tenacity.retry_if_exception(fails_so),
        reraise=True,
    )


def trying(*, timeout: float = 60.0, every: float = 0.1) -> tenacity.Retrying:
    """Return what calls a check until it passes, and fails as the check does when time is up.

    Both parameters are seconds: ``timeout`` from the first try on, ``every`` between two tries.
    """
    return _while(_unmet, timeout=timeout, every=every)


def _overtaken(error: BaseException) -> bool:
    modified = "the object has been modified"
    return (
        isinstance(error, client.ApiError) and error.status == 409 and modified in str(error.body)
    )


def over_others(*, timeout: float = 60.0) -> tenacity.Retrying:
    """Return what repeats an edit for as long as somebody else writes to the object in between.

    The edit has to read the object anew each time; ``timeout`` is in seconds.
    """
    return _while(_overtaken, timeout=timeout, every=0.0)


def _taken(error: BaseException) -> bool:
    return isinstance(error, client.ApiError) and error.status == 409


def racing(*, timeout: float = 60.0) -> tenacity.Retrying:
    """Return what repeats a creation for as long as somebody else is faster to take the name."""
    return _while(_taken, timeout=timeout, every=0.0)


def _gave_up(error: BaseException) -> bool:
    return isinstance(error, client.ApiError) and error.status == 504


def answered(*, timeout: float = 120.0) -> tenacity.Retrying:
    """Return what repeats a request for as long as the API server has no time to answer it."""
    return _while(_gave_up, timeout=timeout, every=1.0)


def _early(error: BaseException) -> bool:
    return isinstance(error, client.ApiError) and "There can be a delay" in str(error.body)


def once_served(*, timeout: float = 60.0) -> tenacity.Retrying:
    """Return what repeats a creation until its definition, which has just come, is known.

    Policies with a mapping of their own answer 503 for some seconds (docs/install.md), and not
    every tool that installs waits for them; ``timeout`` is in seconds.
    """
    return _while(_early, timeout=timeout, every=0.5)


def eventually(check: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what ``check`` returns once it passes; fail as it does when a minute is over."""
    return trying()(check, *args, **kwargs)
