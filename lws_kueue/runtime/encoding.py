"""How the bodies of requests are written.

The data of a ControllerRevision are kept as the bytes that were sent, and may not change. Whatever
a Go program patches it writes anew, so if ours had been written in another way (with spaces, say),
the API server would refuse every patch of the object: garbage collection could not take its owner
off, and a set that is deleted without its children would never go.

An apply is read as YAML, in which some characters have no place and halves of others no meaning.
"""

import json
from collections.abc import Mapping
from typing import Any

from lws_kueue.controller.revision import revisions

_NOT_IN_YAML = {
    code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF)
}


def dumps(body: Any) -> str:
    """Return the JSON text of a body."""
    if isinstance(body, Mapping) and body.get("kind") == "ControllerRevision":
        return revisions.encode(body).decode()
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    # None of these characters can stand outside of a JSON string.
    return text.translate(_NOT_IN_YAML)
