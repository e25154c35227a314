"""The set that the rows of LWS's contract are about, and the checks on it."""
