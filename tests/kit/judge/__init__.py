"""Recorders of what an API server tells, and judgements on what they recorded."""
