"""What `make bench` runs: performance is measured here, never asserted in timed tests."""
