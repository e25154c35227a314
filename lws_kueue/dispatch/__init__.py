"""Dispatch of groups to worker clusters (MultiKueue), pure: no input or output, no clock."""
