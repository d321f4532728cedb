"""Watches the chain, decides what is due, and dispatches it; the command line lives here too."""
