"""What is asked of an API server, whoever sends it: its answers are JSON, its refusals one error.

The controller's way out is `client`. Whoever only reads has another one that is there sooner
(`lws_kueue.kubectl`); what both ask for is written against this.
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from lws_kueue.runtime import error_text


class NoServerError(Exception):
    """Nothing says where the API server is, or who we are to it."""


class ApiError(Exception):
    """The API server refused a request, or could not be reached (``status`` 0)."""

    def __init__(
        self,
        *,
        status: int,
        reason: str,
        message: str,
        request: str,
        answer: Mapping[str, Any] | None = None,
        retry_after: float = 0.0,
    ) -> None:
        """``answer`` is the Status object that the server sent, if it sent one.

        ``message`` may be told to people: it quotes no values of objects, which ``answer`` does.
        ``retry_after`` is for how many seconds it asked for a pause.
        """
        what = f"{status} {reason}" if status else reason
        super().__init__(f"{request}: {what}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.answer = answer or {}
        self.retry_after = retry_after


class Requests(Protocol):
    """Sends requests to one API server with one identity."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Send one request and return the JSON object of the answer.

        Raises:
            ApiError: the server refused, or did not answer.
        """


def status_of(body: bytes) -> dict[str, Any]:
    """Return the Status object that an API server sends with a refusal, empty if it is none."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def refusal(
    body: bytes, *, status: int, phrase: str, request: str, retry_after: float = 0.0
) -> ApiError:
    """Return the error of a response, preferring the Status object that servers send."""
    answer = status_of(body)
    text = answer.get("message") or body.decode(errors="replace")[:500]
    return ApiError(
        status=status,
        reason=answer.get("reason") or phrase,
        message=error_text.without_values(text),
        request=request,
        answer=answer,
        retry_after=retry_after,
    )
