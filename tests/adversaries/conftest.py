"""The worker's stage, for adversaries: real contracts on a real chain, and the real client on the honest side."""

from tests.oracle_worker.conftest import stage, wine

__all__ = ["stage", "wine"]
