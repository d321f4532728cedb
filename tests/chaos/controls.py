"""Two kinds beyond what is promised, which show whether the campaign would notice lost stake and duties paid for twice."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from contracts.endpoint import ChainError
from contracts.errors import Reverted
from tests.chaos.fault import fault, lasting
from tests.chaos.stage import WINDOW, Stage

CONTROLS = "controls: beyond what is promised"
GAS = hex(1_000_000)


@fault(
    "the signer away until after its reveal window",
    CONTROLS,
    seconds=(3.0, 4.0),
    phases=("before its reveal",),
    control="lost",
)
def too_late(at: Stage, chance: Random) -> Iterator[None]:
    """An outage that is longer than what was left of the window."""
    at.running("signer").kill()
    at.pass_time(WINDOW)
    try:
        yield from lasting()
    finally:
        at.operator.start("signer")


@fault("every transaction sent once more", CONTROLS, seconds=None, phases=("before its commit",), control="twice")
def doubled(at: Stage, chance: Random) -> Iterator[None]:
    """As by a signer that does not look at the chain before it sends."""
    operator, last = at.operator.address, at.block_number()
    at.endpoint.ask("anvil_impersonateAccount", operator)
    known = set[str]()
    try:
        while True:
            head = at.block_number()
            for number in range(last + 1, head + 1):
                for one in at.endpoint.ask("eth_getBlockByNumber", hex(number), True)["transactions"]:
                    if one["from"].lower() == operator.lower() and one["input"] not in known:
                        known.add(one["input"])
                        _send_again(at, one)
            last = head
            yield
    finally:
        at.endpoint.ask("anvil_stopImpersonatingAccount", operator)


def _send_again(at: Stage, one: dict[str, str]) -> None:
    again = {name: one[name] for name in ("from", "to", "input", "value")}
    try:
        at.endpoint.ask("eth_sendTransaction", {**again, "gas": GAS, "maxFeePerGas": hex(10**12)})
    except (ChainError, Reverted):
        return
