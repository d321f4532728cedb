"""Deterministic integer networks: one meaning on every machine, and on the chain."""
