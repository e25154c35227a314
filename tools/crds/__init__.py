"""Generator of the LeaderWorkerSet CustomResourceDefinition in `crds/` (lws-contract 1).

The schemas of pod templates and volume claims come from the API server's own OpenAPI document,
so a new Kubernetes release needs a new run and no edited file; everything else is written down in
`fields` and `rules`.
"""
