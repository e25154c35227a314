"""Reading with the rights of whoever asks: what may not be read is missing, and that is said."""

from collections.abc import Collection, Iterable
from typing import Any, Final

from lws_kueue.kubectl import connection
from lws_kueue.runtime import asking, resources

Object = dict[str, Any]

# The ClusterRole that is enough for all that is read.
ROLE: Final = "lws-kueue-kubectl-viewer"


class NotFoundError(LookupError):
    """What is asked for is not there; says what to do."""


def told(
    lacking: Collection[resources.Resource],
    partly: Collection[resources.Resource],
    namespace: str,
) -> tuple[str, ...]:
    """Say which kinds may not be read, and of which only the objects of one namespace may."""
    said = []
    if lacking:
        said.append(
            f"Left out, because you may not read it: {_plurals(lacking)}. The ClusterRole {ROLE}"
            " allows it"
        )
    if partly:
        said.append(
            f"Of {_plurals(partly)} only those of namespace {namespace} are known here. The"
            f" ClusterRole {ROLE}, bound for the cluster, tells more"
        )
    return tuple(said)


def _plurals(kinds: Iterable[resources.Resource]) -> str:
    return ", ".join(sorted({kind.plural for kind in kinds}))


class Reader:
    """Reads objects as far as that is allowed, and remembers what was not."""

    def __init__(self, server: connection.Connection) -> None:
        self.server = server
        self.lacking: list[resources.Resource] = []
        self.partly: list[resources.Resource] = []

    async def listed(
        self, resource: resources.Resource, *, namespace: str = "", label_selector: str = ""
    ) -> list[Object]:
        """Return the objects of a kind; none where they are not served, or may not be read."""
        try:
            return await self.server.listed(
                resource, namespace=namespace, label_selector=label_selector
            )
        except asking.ApiError as error:
            if error.status == 403:
                self.lacking.append(resource)
            elif error.status != 404:
                raise
            return []

    async def widely(self, resource: resources.Resource, *, namespace: str) -> list[Object]:
        """Return the objects of a kind in all namespaces, or else those of one."""
        try:
            return await self.server.listed(resource)
        except asking.ApiError as error:
            if error.status != 403:
                return await self.listed(resource, namespace=namespace)
            self.partly.append(resource)
        found = await self.listed(resource, namespace=namespace)
        if resource in self.lacking:
            self.partly.remove(resource)
        return found

    def notes(self, namespace: str) -> tuple[str, ...]:
        """Return what could not be read, each as one line."""
        return told(self.lacking, self.partly, namespace)
