"""Record anew what the corpus is rendered as: ``python -m tests.rendered``."""

from tests.rendered import recording

if __name__ == "__main__":
    before, now = recording.recorded(), recording.record()
    recording.FOLDER.mkdir(exist_ok=True)
    for name in before.keys() - now.keys():
        (recording.FOLDER / f"{name}.yaml").unlink()
    for name, content in now.items():
        (recording.FOLDER / f"{name}.yaml").write_text(content, encoding="utf-8")
        if before.get(name) != content:
            print(f"recorded {name}")
    print(f"The number of the recording, for CHANGELOG.md: {recording.number(now)}")
