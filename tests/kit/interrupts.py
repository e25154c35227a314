"""SIGINT, which a shell has its background jobs ignore, and with them whatever they start."""

import signal


def heeded() -> None:
    """Have this process, and those that tests start from it, end when they are interrupted."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
