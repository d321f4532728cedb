"""The web pages over the read model of coordinator.explorer: no key, no write path, nothing from outside."""
