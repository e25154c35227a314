"""Who may read metrics: the API server is asked, as the Go manager does (lws-contract 9.3).

A bearer token is shown to it (TokenReview), and whether its owner may use the path is asked
(SubjectAccessReview for a nonResourceURL). Answers are kept for a moment and questions are limited,
so that nobody outside can have the API server flooded through here.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import aiolimiter

from lws_kueue.runtime import client

TOKEN_REVIEWS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - a path
ACCESS_REVIEWS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"

_ALLOWED_SECONDS: Final = 60.0
_REFUSED_SECONDS: Final = 10.0
_MOST_REMEMBERED: Final = 1000
_QUESTIONS_A_SECOND: Final = 10

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The status of the answer to a request, and what a refusal says."""

    status: int
    text: str = ""

    @property
    def allowed(self) -> bool:
        """Whether the request may be answered."""
        return self.status == 200


_UNKNOWN: Final = Verdict(401, "Unauthorized")
_FAILED: Final = Verdict(500, "whether you may read this could not be found out")


class Access:
    """Answers whether the owner of a token may use a path."""

    def __init__(self, api: client.Client, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._clock = clock
        self._known: dict[tuple[bytes, str, str], tuple[float, Verdict]] = {}
        self._pace = aiolimiter.AsyncLimiter(_QUESTIONS_A_SECOND, 1)

    async def verdict(self, *, authorization: str, path: str, verb: str) -> Verdict:
        """Judge a request by its Authorization header, "" for none."""
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return _UNKNOWN
        asked = (hashlib.sha256(token.encode()).digest(), path, verb)
        until, known = self._known.get(asked, (0.0, _UNKNOWN))
        if self._clock() < until:
            return known
        found = await self._ask(token, path=path, verb=verb)
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        lasts = _ALLOWED_SECONDS if found.allowed else _REFUSED_SECONDS
        self._known[asked] = (self._clock() + lasts, found)
        return found

    async def _ask(self, token: str, *, path: str, verb: str) -> Verdict:
        try:
            user = await self._user(token)
            if user is None:
                return _UNKNOWN
            if await self._may(user, path=path, verb=verb):
                return Verdict(200)
        except client.ApiError as error:
            # Outside of a cluster, for example, the identity may lack the right to ask.
            logger.warning("A request for %s cannot be judged: %s", path, error)
            return _FAILED
        return Verdict(403, f"{user.get('username')} may not {verb} {path}")

    async def _user(self, token: str) -> dict[str, Any] | None:
        status = await self._review(TOKEN_REVIEWS, kind="TokenReview", spec={"token": token})
        user: dict[str, Any] = status.get("user") or {}
        return user if status.get("authenticated") and user.get("username") else None

    async def _may(self, user: dict[str, Any], *, path: str, verb: str) -> bool:
        spec = {
            "user": user["username"],
            "uid": user.get("uid", ""),
            "groups": user.get("groups") or [],
            "extra": user.get("extra") or {},
            "nonResourceAttributes": {"path": path, "verb": verb},
        }
        status = await self._review(ACCESS_REVIEWS, kind="SubjectAccessReview", spec=spec)
        return status.get("allowed") is True

    async def _review(self, path: str, *, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
        await self._pace.acquire()
        group = path.split("/")[2]
        body = {"apiVersion": f"{group}/v1", "kind": kind, "spec": spec}
        answer = await self._api.request("POST", path, body=body)
        return answer.get("status") or {}
