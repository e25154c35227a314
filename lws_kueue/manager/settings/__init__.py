"""The settings of the manager: flags, the configuration file, and how Go spells values."""
