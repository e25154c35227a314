"""Released programs without the internet: images that a test makes, and a registry on loopback."""
