"""The vocabulary: names, and pydantic models of the objects that are read and written."""
