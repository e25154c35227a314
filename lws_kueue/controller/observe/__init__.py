"""What was seen of a set: its objects, its groups, and who owns what."""
