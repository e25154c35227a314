"""`python -m tools.pin_releases`: learn the digests of releases, and write them into releases.toml.

Needs the internet: it downloads every program for every platform of the table from where it is
published (a mirror that the environment names is left aside), verifies the chain of digests from
the tag, and pins what it found. What is pinned already has to be the same: whoever changes a
version empties its digests.
"""

import argparse
import contextlib
import dataclasses
import sys
import tempfile
from pathlib import Path

from lws_kueue_lab.sandbox import cluster, downloads
from lws_kueue_lab.sandbox.releases import obtain, sources, table, transfer


def main(arguments: list[str] | None = None) -> int:
    """Write the pins; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--table", type=Path, default=table.TABLE)
    path = parser.parse_args(arguments).table
    before = path.read_text()
    try:
        after = table.render(pin(table.load(path)), head=before.partition("\n\n")[0])
    except cluster.SandboxError as error:
        print(f"pin_releases: {error}", file=sys.stderr)
        return 1
    path.write_text(after)
    print(f"{path}: {'as it was' if before == after else 'written anew'}")
    return 0


def pin(known: table.Table) -> table.Table:
    """The table with all digests; what it has already has to fit what is published."""
    programs, files = dict(known.programs), dict(known.files)
    with tempfile.TemporaryDirectory() as cache, contextlib.closing(transfer.Client()) as client:
        found = sources.Sources((sources.Source("official"),), ())
        downloader = downloads.Downloader(client, Path(cache), found)
        for name, program in known.programs.items():
            pins = {}
            for key in program.pins:
                digests = _digests(downloader, table.only(known, name), name, key)
                pins[key] = dataclasses.replace(digests, index="")
                programs[name] = dataclasses.replace(program, index=digests.index, pins=pins)
        for name, file in known.files.items():
            digests = _digests(downloader, table.only(known, name), name, "linux-amd64")
            files[name] = dataclasses.replace(file, sha256=digests.program)
    return table.Table(programs=programs, files=files)


def _digests(
    downloader: downloads.Downloader, content: table.Table, name: str, key: str
) -> table.Digests:
    release = downloads.Release(name=name, version="published", content=content)
    place = downloader.get(release, table.Platform(*key.split("-")))
    (provenance,) = obtain.read(place)
    return provenance.digests


if __name__ == "__main__":
    sys.exit(main())
