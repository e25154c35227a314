"""The demo: one set on a cluster of its own, admitted group by group, told step by step.

`snapshot` and `table` are pure and say what there is to see; `watching` and `screen` see and
show it; `story` is the order of events; `command` is `lws-kueue demo`.
"""
