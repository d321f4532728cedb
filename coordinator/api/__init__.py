"""The explorer over HTTP: JSON, and a stream of events. Read-only."""
