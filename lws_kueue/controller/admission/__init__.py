"""The bridge to Kueue: who manages a set, who is admitted for what, and what follows."""
