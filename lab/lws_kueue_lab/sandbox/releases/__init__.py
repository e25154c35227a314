"""Programs and files of official releases: what they are, where they come from, how they are got.

`releases.toml` names them and pins their digests; `obtain.bundle` puts those that belong together
into the cache, from a mirror or from where they are published; `seen` keeps what was verified.
Nothing here builds anything.
"""
