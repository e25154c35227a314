"""Where a rollout goes next: partition and replicas, and which groups are replaced for it."""
