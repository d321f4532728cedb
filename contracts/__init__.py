"""The protocol: Solidity sources, their Python twins, and typed clients of the deployed contracts."""
