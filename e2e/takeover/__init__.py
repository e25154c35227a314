"""Sets that the manager of the LWS project made are taken over without a write (UPG-01)."""
