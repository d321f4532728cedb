"""A development chain: JSON-RPC over the Python EVM in one process, or anvil where there is one.

    with running_chain() as url:          # "auto": anvil if it is found, else the Python EVM
        web3 = Web3(HTTPProvider(url))

`dev_keys(n)` are the keys of the accounts that both kinds fund. Everyone knows them: never use them anywhere else.
"""

from coordinator.devnet.accounts import DEV_BALANCE, dev_accounts, dev_keys
from coordinator.devnet.anvil import AnvilProcess, find_anvil, start_anvil
from coordinator.devnet.chain import DevChain
from coordinator.devnet.running import ChainKind, free_port, running_chain
from coordinator.devnet.server import DevServer, serve
from coordinator.devnet.wire import RpcError

__all__ = [
    "DEV_BALANCE",
    "AnvilProcess",
    "ChainKind",
    "DevChain",
    "DevServer",
    "RpcError",
    "dev_accounts",
    "dev_keys",
    "find_anvil",
    "free_port",
    "running_chain",
    "serve",
    "start_anvil",
]
