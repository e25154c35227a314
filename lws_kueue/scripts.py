"""The programs that an installation puts on the PATH.

What they are made of is loaded only inside of them, because that takes about a second, in which
somebody may think better of it.
"""

from lws_kueue import interruption


def lws_kueue() -> None:
    """Run `lws-kueue`."""
    with interruption.ending_quietly():
        from lws_kueue.cli import main

        main()


def kubectl_lws() -> None:
    """Run `kubectl-lws`, which kubectl runs as `kubectl lws`."""
    with interruption.ending_quietly():
        from lws_kueue.kubectl.command import main

        main()


def kubectl_complete_lws() -> None:
    """Run `kubectl_complete-lws`, which kubectl runs to complete `kubectl lws`."""
    with interruption.ending_quietly():
        from lws_kueue.kubectl.completion import main

        main()
