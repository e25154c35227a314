"""Who may read metrics: the API server is asked, as the Go manager does (lws-contract 9.3).

A bearer token is shown to it (TokenReview), and whether its owner may use the path is asked
(SubjectAccessReview for a nonResourceURL). Answers are kept for a moment and questions are limited,
so that nobody outside can have the API server flooded through here. Nor can anybody keep out those
who may read: what is known of them is kept apart, and so are the questions about who was one.
"""

import collections
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
_MOST_ALLOWED: Final = 100
_MOST_REFUSED: Final = 1000
_QUESTIONS_A_SECOND: Final = 10
# So many may wait until they are asked about.
_MOST_WAITING: Final = 20

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
_TOO_MANY: Final = Verdict(503, "too many ask whether they may read this; try again")

# Who asks for what: the digest of a token, a path and a verb.
_Asked = tuple[bytes, str, str]


class _Known:
    """Verdicts, and until when they hold; what was of no use for the longest time goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: collections.OrderedDict[_Asked, tuple[float, Verdict]] = (
            collections.OrderedDict()
        )

    def __contains__(self, asked: _Asked) -> bool:
        """Whether there was one, even if it does not hold any more."""
        return asked in self._found

    def get(self, asked: _Asked, *, now: float) -> Verdict | None:
        """Return the verdict that holds, None if there is none."""
        until, verdict = self._found.get(asked, (0.0, _UNKNOWN))
        if now >= until:
            return None
        self._found.move_to_end(asked)
        return verdict

    def add(self, asked: _Asked, verdict: Verdict, *, until: float) -> None:
        """Remember a verdict."""
        self._found[asked] = (until, verdict)
        self._found.move_to_end(asked)
        while len(self._found) > self._most:
            self._found.popitem(last=False)

    def drop(self, asked: _Asked) -> None:
        """Forget a verdict."""
        self._found.pop(asked, None)


class _Lane:
    """Questions that wait for their turn, so many a second."""

    def __init__(self) -> None:
        self._waiting = 0
        self._pace = aiolimiter.AsyncLimiter(_QUESTIONS_A_SECOND, 1)

    async def turn(self) -> bool:
        """Wait until a question may be asked; False if too many wait already."""
        if self._waiting >= _MOST_WAITING:
            return False
        self._waiting += 1
        try:
            await self._pace.acquire()
        finally:
            self._waiting -= 1
        return True


class Access:
    """Answers whether the owner of a token may use a path."""

    def __init__(self, api: client.Client, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._clock = clock
        self._allowed = _Known(_MOST_ALLOWED)
        self._refused = _Known(_MOST_REFUSED)
        self._readers, self._others = _Lane(), _Lane()

    async def verdict(self, *, authorization: str, path: str, verb: str) -> Verdict:
        """Judge a request by its Authorization header, "" for none."""
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return _UNKNOWN
        asked = (hashlib.sha256(token.encode()).digest(), path, verb)
        now = self._clock()
        known = self._allowed.get(asked, now=now) or self._refused.get(asked, now=now)
        if known is not None:
            return known
        lane = self._readers if asked in self._allowed else self._others
        if not await lane.turn():
            return _TOO_MANY
        found = await self._ask(token, path=path, verb=verb)
        if found.allowed:
            self._allowed.add(asked, found, until=self._clock() + _ALLOWED_SECONDS)
            self._refused.drop(asked)
        else:
            self._refused.add(asked, found, until=self._clock() + _REFUSED_SECONDS)
            # Where nothing can be asked, who was a reader stays one that is asked about.
            if found.status != _FAILED.status:
                self._allowed.drop(asked)
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
        group = path.split("/")[2]
        body = {"apiVersion": f"{group}/v1", "kind": kind, "spec": spec}
        answer = await self._api.request("POST", path, body=body)
        return answer.get("status") or {}
