"""The process around the engine: its command, its settings, its lease and what it serves."""
