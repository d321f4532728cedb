"""`python -m coordinator.cli` is `quorate`."""

from coordinator.cli.main import main

if __name__ == "__main__":
    main()
