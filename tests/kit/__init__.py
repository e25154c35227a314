"""The test kit, on which the tests of `tests` and of `e2e` stand; it knows neither of them."""
