"""Reading an audit log that grows meanwhile, by half a line at times."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lws_kueue_lab.sandbox import audit


def line(uri: str) -> str:
    event = {
        "stage": "ResponseComplete",
        "verb": "create",
        "user": {},
        "requestURI": uri,
        "requestReceivedTimestamp": "2024-05-06T07:08:09Z",
        "stageTimestamp": "2024-05-06T07:08:10Z",
    }
    return json.dumps(event, ensure_ascii=False) + "\n"


def growing(log: Path, *, after: str) -> Any:
    """A sandbox whose API server writes the request down, and then ``after``."""

    def request(_: str, path: str, *, query: dict[str, str]) -> None:
        with log.open("a", encoding="utf-8") as file:
            file.write(line(f"{path}?mark={query['mark']}") + after)

    return SimpleNamespace(audit_log=log, api=SimpleNamespace(request=request))


def test_a_position_is_the_end_of_a_line_and_what_comes_then_is_read_whole(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text(line("/before"), encoding="utf-8")
    half, rest = line("/after")[:20], line("/after")[20:]
    since = audit.position(growing(log, after=half))
    cluster = growing(log, after="")
    assert audit.so_far(cluster, since=since) == ([], since)
    with log.open("a", encoding="utf-8") as file:
        file.write(rest)
    found, _ = audit.so_far(cluster, since=since)
    assert [request.uri for request in found] == ["/after"]


def test_only_a_newline_ends_a_line(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text(line("/odd\u0085name"), encoding="utf-8")
    found, _ = audit.so_far(growing(log, after=""), since=0)
    assert [request.uri for request in found] == ["/odd\u0085name"]
