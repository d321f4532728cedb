"""Compiles the tests' Solidity with py-solc-x and keeps its committed artifacts true.

python -m tests.solidity.build            recompile into tests/solidity/artifacts
python -m tests.solidity.build --check    exit 1 if one is stale
"""

from __future__ import annotations

import sys
from pathlib import Path

from contracts.compiler import SOURCES, main, read_sources

HERE = Path(__file__).parent

if __name__ == "__main__":
    sys.exit(main(read_sources(SOURCES, HERE), HERE / "artifacts", below="tests/solidity/"))
