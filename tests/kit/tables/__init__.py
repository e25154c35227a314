"""Tables of cases, as plain data, that several tests go through."""
