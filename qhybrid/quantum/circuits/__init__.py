"""Circuits with roles: which parameters are inputs, which are weights, what is measured."""
