"""Trees of nodes, and sets placed on them."""
