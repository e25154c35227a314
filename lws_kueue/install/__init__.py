"""What is installed in a cluster, and whether a cluster is fit for it."""
