"""The command line `quorate`."""
