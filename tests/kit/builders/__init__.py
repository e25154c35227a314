"""Builders of objects, in the forms in which an API server returns them."""
