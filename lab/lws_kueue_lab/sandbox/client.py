"""A small synchronous client with admin rights, for the sandbox, the demo and the tests.

Objects are plain dicts in JSON form, addressed by apiVersion and kind; the paths come from the
API server's own discovery. It is not the client of the controller, which is asynchronous and
counts its requests.
"""

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from lws_kueue_lab.sandbox import connection

Object: TypeAlias = dict[str, Any]
Objects: TypeAlias = list[Object]
PatchType = Literal["merge", "json", "strategic", "apply"]

ApiError = connection.ApiError
USER_AGENT = connection.USER_AGENT
FIELD_MANAGER = "lws-kueue-sandbox"

_PATCH_CONTENT = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


class WaitTimeoutError(AssertionError):
    """A condition did not come true in time; the message says what was seen instead.

    It is an AssertionError because in a test an unmet expectation is a failure, not an error.
    """


@dataclasses.dataclass(frozen=True, slots=True)
class Resource:
    """What discovery says about a kind."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, *, namespace: str | None = None, name: str | None = None) -> str:
        """The URL path of the collection, or of the object `name`."""
        root = (
            f"/api/{self.api_version}" if self.api_version == "v1" else f"/apis/{self.api_version}"
        )
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{scope}/{self.plural}" + (f"/{name}" if name else "")


class Client(connection.Connection):
    """Objects by apiVersion and kind, over a connection.

    Every method raises `ApiError` for an answer that is not a success; its `status` and `body`
    tell what the API server said.
    """

    def __init__(self, kubeconfig: Path, *, user_agent: str = USER_AGENT) -> None:
        super().__init__(kubeconfig, user_agent=user_agent)
        self._resources: dict[tuple[str, str], Resource] = {}

    def resource(self, api_version: str, kind: str) -> Resource:
        """What discovery says about a kind; LookupError if the API server does not serve it."""
        key = (api_version, kind)
        if key not in self._resources:
            # Kinds appear at run time with their CRDs, so a miss always asks again.
            root = f"/api/{api_version}" if api_version == "v1" else f"/apis/{api_version}"
            for item in self.request("GET", root)["resources"]:
                if "/" not in item["name"]:
                    self._resources[api_version, item["kind"]] = Resource(
                        api_version=api_version,
                        kind=item["kind"],
                        plural=item["name"],
                        namespaced=item["namespaced"],
                    )
        if key not in self._resources:
            raise LookupError(f"the API server does not serve {kind} of {api_version}")
        return self._resources[key]

    def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        """Create an object and return it as stored."""
        path = self._path_of(obj, with_name=False)
        query = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {})
        return _as_object(self.request("POST", path, query=query, body=obj))

    def apply(
        self, obj: Object, *, field_manager: str = FIELD_MANAGER, subresource: str = ""
    ) -> Object:
        """Server-side apply, taking over fields that others own."""
        path = self._path_of(obj, with_name=True) + (f"/{subresource}" if subresource else "")
        query = {"fieldManager": field_manager, "force": True}
        return _as_object(
            self.request("PATCH", path, query=query, body=obj, content_type=_PATCH_CONTENT["apply"])
        )

    def replace(self, obj: Object, *, subresource: str = "") -> Object:
        """Update a whole object; its resourceVersion, if there is one, guards the write."""
        path = self._path_of(obj, with_name=True) + (f"/{subresource}" if subresource else "")
        return _as_object(
            self.request("PUT", path, query={"fieldManager": FIELD_MANAGER}, body=obj)
        )

    def get(
        self, api_version: str, kind: str, name: str, *, namespace: str | None = None
    ) -> Object:
        """Read one object; `ApiError` with status 404 if there is none."""
        path = self.resource(api_version, kind).path(namespace=namespace, name=name)
        return _as_object(self.request("GET", path))

    def find(
        self, api_version: str, kind: str, name: str, *, namespace: str | None = None
    ) -> Object | None:
        """Read one object, or None if there is none."""
        try:
            return self.get(api_version, kind, name, namespace=namespace)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Objects:
        """The objects of a kind, of all namespaces if none is given."""
        return self.list_page(
            api_version,
            kind,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
        )[0]

    def list_page(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
    ) -> tuple[Objects, str]:
        """The objects of a kind and the resourceVersion to watch from."""
        path = self.resource(api_version, kind).path(namespace=namespace)
        answer = self.request("GET", path, query=_selectors(label_selector, field_selector))
        # Items of a list carry neither apiVersion nor kind on the wire.
        objects = [{"apiVersion": api_version, "kind": kind} | item for item in answer["items"]]
        return objects, answer["metadata"]["resourceVersion"]

    def patch(
        self,
        api_version: str,
        kind: str,
        name: str,
        *,
        body: Any,
        namespace: str | None = None,
        patch_type: PatchType = "merge",
        subresource: str = "",
    ) -> Object:
        """Patch one object, or its subresource such as `status` or `scale`."""
        path = self.resource(api_version, kind).path(namespace=namespace, name=name)
        path += f"/{subresource}" if subresource else ""
        query = {"fieldManager": FIELD_MANAGER}
        return _as_object(
            self.request(
                "PATCH", path, query=query, body=body, content_type=_PATCH_CONTENT[patch_type]
            )
        )

    def delete(
        self,
        api_version: str,
        kind: str,
        name: str,
        *,
        namespace: str | None = None,
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
        grace_seconds: int | None = None,
        missing_ok: bool = False,
    ) -> None:
        """Ask for the deletion of one object; finalizers may keep it for a while."""
        path = self.resource(api_version, kind).path(namespace=namespace, name=name)
        options: Object = {"propagationPolicy": propagation}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            self.request("DELETE", path, body=options)
        except ApiError as error:
            if not (missing_ok and error.status == 404):
                raise

    def _path_of(self, obj: Object, *, with_name: bool) -> str:
        metadata = obj["metadata"]
        resource = self.resource(obj["apiVersion"], obj["kind"])
        namespace = metadata.get("namespace", "default") if resource.namespaced else None
        return resource.path(namespace=namespace, name=metadata["name"] if with_name else None)

    # Watching ---------------------------------------------------------------------------------

    def watch(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str | None = None,
        timeout: float = 60.0,
    ) -> Iterator[Object]:
        """Yield watch events (`type` and `object`) until `timeout` seconds have passed.

        Without `resource_version` the existing objects come first, as ADDED. The generator ends
        without an error when the connection does.
        """
        path = self.resource(api_version, kind).path(namespace=namespace)
        query = _selectors(label_selector, field_selector)
        query |= {"watch": True, "timeoutSeconds": max(1, round(timeout))}
        if resource_version is not None:
            query["resourceVersion"] = resource_version
        yield from self.stream(path, query=query, timeout=timeout + 5)

    def wait_for(
        self,
        api_version: str,
        kind: str,
        name: str,
        predicate: Callable[[Object | None], Any],
        *,
        namespace: str | None = None,
        timeout: float = 120.0,
        what: str = "",
    ) -> Object | None:
        """Watch one object until `predicate` holds for it; None stands for its absence.

        Returns the object as it was then. Raises `WaitTimeoutError` after `timeout` seconds with
        the object as it was last seen; `what` names the condition in that message.
        """

        def holds(objects: Mapping[str, Object]) -> bool:
            return bool(predicate(objects.get(name)))

        found = self.wait_for_all(
            api_version,
            kind,
            holds,
            namespace=namespace,
            field_selector=f"metadata.name={name}",
            timeout=timeout,
            what=what or f"{kind} {name}",
        )
        return found.get(name)

    def wait_for_all(
        self,
        api_version: str,
        kind: str,
        predicate: Callable[[Mapping[str, Object]], Any],
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        timeout: float = 120.0,
        what: str = "",
    ) -> dict[str, Object]:
        """Watch a collection until `predicate` holds for it, given as objects by name.

        The objects have to have distinct names, so give a namespace. Returns them as they were
        then; raises `WaitTimeoutError` like `wait_for`.
        """
        deadline = time.monotonic() + timeout
        select = {
            "namespace": namespace,
            "label_selector": label_selector,
            "field_selector": field_selector,
        }
        seen: dict[str, Object] = {}
        while True:
            items, version = self.list_page(api_version, kind, **select)  # type: ignore[arg-type]
            seen = {item["metadata"]["name"]: item for item in items}
            if predicate(seen):
                return seen
            left = deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeoutError(_timeout_message(what or kind, timeout, seen.values()))
            with contextlib.suppress(ApiError):  # An expired version: list again.
                events = self.watch(
                    api_version,
                    kind,
                    **select,  # type: ignore[arg-type]
                    resource_version=version,
                    timeout=left,
                )
                with contextlib.closing(events):  # type: ignore[type-var]
                    for event in events:
                        _fold(seen, event)
                        if predicate(seen):
                            return seen
                        if time.monotonic() > deadline:
                            break


def _fold(seen: dict[str, Object], event: Object) -> None:
    if event["type"] == "ERROR":
        raise ApiError(status=event["object"].get("code", 0), reason=event["object"].get("reason"))
    name = event["object"]["metadata"]["name"]
    if event["type"] == "DELETED":
        seen.pop(name, None)
    elif event["type"] in ("ADDED", "MODIFIED"):
        seen[name] = event["object"]


def _timeout_message(what: str, timeout: float, objects: Iterable[Object]) -> str:
    lines = [f"{what}: not so after {timeout:g} s; seen last:"]
    for obj in objects:
        brief = {key: value for key, value in obj.items() if key in ("spec", "status")}
        metadata = {k: v for k, v in obj["metadata"].items() if k != "managedFields"}
        lines.append(json.dumps({"metadata": metadata} | brief, indent=1)[:4000])
    if len(lines) == 1:
        lines.append("  nothing")
    return "\n".join(lines)


def _selectors(label_selector: str, field_selector: str) -> dict[str, Any]:
    query: dict[str, Any] = {}
    if label_selector:
        query["labelSelector"] = label_selector
    if field_selector:
        query["fieldSelector"] = field_selector
    return query


def _as_object(answer: Any) -> Object:
    if not isinstance(answer, dict):
        raise TypeError(f"the API server answered with {type(answer).__name__}, not an object")
    return answer
