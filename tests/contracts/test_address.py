"""Which texts are addresses: the one rule for settings, keystores, messages and the command line."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from contracts import address
from coordinator.settings import CoordinatorSettings
from oracle_worker.settings import WorkerSettings

RIGHT = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
MISTYPED = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD"


@pytest.mark.parametrize("text", [RIGHT, RIGHT.lower(), RIGHT[2:], "0x" + RIGHT[2:].upper()])
def test_an_address_is_taken_with_its_checksum_or_without_one(text: str) -> None:
    assert address.parse(text) == RIGHT


@pytest.mark.parametrize("text", [MISTYPED, MISTYPED[2:], RIGHT[:-1], RIGHT + "0", "", "0x", None, 7, b"\x01" * 20])
def test_a_wrong_checksum_is_a_typing_error_and_refused(text: object) -> None:
    assert not address.is_address(text)
    with pytest.raises(address.BadAddress, match="checksum"):
        address.parse(text)


@pytest.mark.parametrize("kind", [WorkerSettings, CoordinatorSettings])
def test_settings_refuse_a_mistyped_worker(kind: type[WorkerSettings] | type[CoordinatorSettings]) -> None:
    assert kind.model_validate({"worker": RIGHT.lower()}).worker == RIGHT
    with pytest.raises(ValidationError, match="checksum"):
        kind.model_validate({"worker": MISTYPED})


@pytest.mark.parametrize("kind", [WorkerSettings, CoordinatorSettings])
def test_printed_settings_show_no_secret_that_a_url_holds(
    kind: type[WorkerSettings] | type[CoordinatorSettings],
) -> None:
    shown = kind(rpc_url="https://node.example/v3/s3cret", broker_url="redis://:s3cret@127.0.0.1/0")
    assert "s3cret" not in repr(shown) + str(shown)
