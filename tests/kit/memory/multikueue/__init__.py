"""Three clusters in memory: a manager and workers, each with a Kueue, and what joins them."""
