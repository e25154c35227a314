"""`lws-kueue bench`: how fast, and at what cost, beside those who do the same.

`cases` says what is measured, `contenders` who does it, `measure` carries a run out. What was seen
(`timeline`, `requests`, `processes`, `loop_blocks`) becomes figures, and `report` makes medians,
ratios, a table and JSON of them. docs/benchmarks says what each figure means.
"""
