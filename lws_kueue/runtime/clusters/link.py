"""Whether a cluster can be reached, and since when it cannot: a value, told by whoever asks it."""

import datetime
from dataclasses import dataclass
from typing import Final, Self

# A watch may have to begin again, and an API server may restart: so long nothing is lost.
PATIENCE: Final = datetime.timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Link:
    """The link to one cluster.

    - ``reached``: whether this process has reached it.
    - ``since``: of the first failure after which there was no answer, None while it answers. It
      outlives this process (`remembered`), so that a restart does not start the clock anew.
    - ``lost``: whether it has failed for so long that it counts as lost.
    """

    reached: bool = False
    since: datetime.datetime | None = None
    lost: bool = False

    @classmethod
    def remembered(cls, since: datetime.datetime) -> Self:
        """Return the link that another process has lost."""
        return cls(since=since, lost=True)

    @property
    def up(self) -> bool:
        """Whether it has been reached and is not lost."""
        return self.reached and not self.lost

    def answered(self) -> "Link":
        """Return it after an answer."""
        return Link(reached=True)

    def failed(
        self, *, begun: datetime.datetime, now: datetime.datetime, for_good: bool = False
    ) -> "Link":
        """Return it after a request that was ``begun`` then and has failed ``now``.

        ``for_good`` says that to wait would not help, as with credentials that are refused.
        """
        since = self.since or begun
        return Link(reached=self.reached, since=since, lost=self.lost or for_good).by(now)

    def by(self, now: datetime.datetime) -> "Link":
        """Return it as time has made it, if nothing was heard meanwhile."""
        if self.lost or self.since is None or now - self.since < PATIENCE:
            return self
        return Link(reached=self.reached, since=self.since, lost=True)

    def left(self, now: datetime.datetime) -> float:
        """Return in how many seconds it will be lost unless it answers, 0 if nothing is due."""
        if self.since is None or self.lost:
            return 0.0
        return max(0.0, (self.since + PATIENCE - now).total_seconds())
