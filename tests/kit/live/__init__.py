"""A control plane that runs: the controller's process, its neighbours, and what a client reads."""
