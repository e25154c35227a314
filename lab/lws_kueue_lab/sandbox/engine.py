"""Whether a Docker engine answers here."""

import contextlib

from lws_kueue.api import printable


def answers() -> bool:
    """Whether a Docker engine can be talked to, with the settings of the environment."""
    return problem() == ""


def problem() -> str:
    """Why no Docker engine can be used, or an empty text if one can."""
    try:
        import docker  # Needed by one back end alone.
    except ImportError:
        return "the Python packages `testcontainers` and `docker` are not installed"
    try:
        with contextlib.closing(docker.from_env()) as client:
            client.ping()
    except Exception as error:  # The library raises those of its transports too.
        return f"no Docker engine answers: {printable.brief(str(error))}"
    return ""
