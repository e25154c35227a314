"""Command line of the generator: `python -m tools.crds --openapi SOURCE --output FILE`."""

import argparse
import json
import pathlib
import subprocess
import sys
from typing import Any

from tools.crds import definition


def load(source: str, *, kubeconfig: str | None) -> dict[str, Any]:
    """Read the OpenAPI document from a file, or from the API server when `source` is a path of it.

    Reading from a server goes through kubectl, which knows every way of logging in.
    """
    if not source.startswith("/openapi/"):
        text = pathlib.Path(source).read_text(encoding="utf-8")
    else:
        command = ["kubectl", "get", "--raw", source]
        if kubeconfig is not None:
            command += ["--kubeconfig", kubeconfig]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    document: dict[str, Any] = json.loads(text)
    return document


def main(arguments: list[str]) -> int:
    """Write the definition; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.crds", description=__doc__)
    parser.add_argument(
        "--openapi",
        default="/openapi/v3/apis/apps/v1",
        help="a file, or the path of the document on the API server (default: %(default)s)",
    )
    parser.add_argument("--kubeconfig", help="of the API server; default as in kubectl")
    parser.add_argument("--output", required=True, type=pathlib.Path)
    options = parser.parse_args(arguments)
    text = definition.render(load(options.openapi, kubeconfig=options.kubeconfig))
    options.output.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
