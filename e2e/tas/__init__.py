"""Whole-system tests of topology-aware scheduling."""
