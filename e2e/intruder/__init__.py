"""Somebody who may edit a namespace, and a real control plane."""
