"""The objects that a set is made of: StatefulSets, Services, PodGroups, and their names."""
