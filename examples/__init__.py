"""Consumers and whole applications on top of the protocol."""
