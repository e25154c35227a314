"""What the tests of admission policies share."""
