"""Ports of loopback for servers that have to be told one before they start."""

import contextlib
import random
import socket
from typing import Final

from lws_kueue_lab.sandbox import cluster

# Below the range from which the kernel takes ports for outgoing connections, so that a port
# that is free now is not given away before its server listens on it.
_RANGE: Final = range(20000, 32000)
_ATTEMPTS: Final = 200


def free(count: int) -> list[int]:
    """Find `count` different ports of 127.0.0.1 that nobody listens on.

    Raises SandboxError if there are none.
    """
    with contextlib.ExitStack() as held:
        found: list[int] = []
        for port in random.sample(_RANGE, _ATTEMPTS):
            if len(found) == count:
                return found
            probe = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
    raise cluster.SandboxError("found no free port on 127.0.0.1")
