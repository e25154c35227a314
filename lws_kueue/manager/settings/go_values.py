"""Values as the Go manager's command line and configuration file spell them (lws-contract 9).

Whoever swaps the managers keeps the old arguments and files, so `15s`, `T` and `:8443` have to mean
here what they mean there. Durations are parsed here because the parser that comes with the
Kubernetes client takes units that Go does not know, and skips what it does not understand.
"""

import re
from dataclasses import dataclass
from typing import Final

from lws_kueue.api import numbers

_SECONDS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_UNITS: Final = "|".join(_SECONDS)
_PART: Final = re.compile(rf"([0-9]+\.?[0-9]*|\.[0-9]+)({_UNITS})")
_DURATION: Final = re.compile(rf"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:{_UNITS}))+")


def duration(text: str) -> float:
    """Return the seconds of a duration such as `1m30s`.

    Raises:
        ValueError: it is not one.
    """
    if text.lstrip("+-") == "0" and len(text) <= 2:
        return 0.0
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration such as 15s or 1m30s")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    return -seconds if text.startswith("-") else seconds


def boolean(text: str) -> bool:
    """Return a truth value; Go takes fewer spellings than YAML does.

    Raises:
        ValueError: it is not one.
    """
    if (found := numbers.boolean(text)) is None:
        raise ValueError(f"{text!r} is neither true nor false")
    return found


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens; ``host`` None means on every address of the machine."""

    host: str | None
    port: int

    def __str__(self) -> str:
        host = self.host or ""
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def address(text: str) -> Address | None:
    """Return the address that `HOST:PORT` names; None for `0`, which means no server.

    Raises:
        ValueError: it is neither.
    """
    if text == "0":
        return None
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address needs brackets, as in [::1]:8443")
    if not colon or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT, :PORT, or 0 for no server")
    return Address(host=host or None, port=int(port))
