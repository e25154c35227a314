"""`lws-kueue demo --multikueue`: the groups of one set in several clusters.

`fleet` opens a manager and its workers, `story` says what happens there, `groups` is what it looks
at, and `rows` the table of it.
"""
