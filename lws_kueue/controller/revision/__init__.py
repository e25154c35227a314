"""Which revision a set is at: its ControllerRevisions, and their content in Go's spelling."""
