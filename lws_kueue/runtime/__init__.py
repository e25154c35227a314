"""The engine: all that touches the outside, for one cluster at a time.

Read `loop` first: it observes a set (`observe`), decides (`lws_kueue.controller`), has the plan
carried out (`cluster`, `execute`) and learns (`memory`). What it looks at comes through `watch`
and `informer` into `cache`, under the `keys` of sets; `departures` listens to what leaves, and
`unowned` looks for what no watch tells of; `gathered` puts together what the cache knows of a set.
`client` is the one way out of what `asking` describes, with `encoding` and
`pause`; `recorder` sends Events. Some things are asked for because no watch tells them:
`kueue_support` and `built_in` say whether Kueue is there, and whether it manages sets itself,
`refusals` why pods are refused. `resources` are the kinds, `work_queue` and `metrics` are what
their names say, and `build_info` is which build this is.
"""
