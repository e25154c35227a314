"""`kubectl lws`: the questions of a day, answered with the rights of the person who asks.

Each command reads once (`reading`, `look`), puts its answer together as a value, and shows that as
a table or as JSON or YAML (`screen`). The answers are pure. Why a group waits is what the
controller itself decides on: the same objects, the same `decide`, and `Plan.reasons`; no text of
anybody is parsed. The controller need not run for it. What somebody may not read is left out, and
said in one line.

`command` is the program, `access` and `connection` are the way to the API server.
"""
