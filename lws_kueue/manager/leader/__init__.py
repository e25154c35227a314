"""Which of several processes works: the election and its Lease."""
