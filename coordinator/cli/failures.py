"""Every foreseeable failure as an exit code and one sentence that says what to do. The only place that decides either."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from contracts import errors, keystore, transactor
from contracts.deployment import BadDeployment
from contracts.endpoint import ChainError
from contracts.job import Phase
from coordinator import profiles
from coordinator.cli import amounts


class ExitCode(IntEnum):
    """What a process that called `quorate` can tell apart. docs/cli.md has the same table."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CHAIN = 3
    REFUSED = 4
    BAD_INPUT = 5
    KEY = 6
    FUNDS = 7
    NOT_FOUND = 8
    UNFINISHED = 9
    INTERRUPTED = 130


class Failure(NamedTuple):
    """What to tell the user, and the exit code."""

    code: ExitCode
    message: str


class Refusal(Exception):
    """A command's own refusal; the message says what to do."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code


ADVICE = {
    "AlreadyDelivered": "nothing is left to tell",
    "AlreadyRefuted": "nothing is left to do about this root",
    "BadBound": "correct that bound; `quorate deploy --help` lists them",
    "CallOutFeeTooHigh": "lower --call-out-fee, or raise --reward",
    "CallbackGasOutOfBounds": "choose --callback-gas within that bound, and only with a --consumer",
    "DeliveryFailed": "the consumer's own code refuses: it can be told again once that is mended",
    "GoldTooLate": "a verification set is opened earlier: there must be time to execute what is disputed",
    "ItemCountOutOfBounds": "split the data into several jobs",
    "JobExists": "the job is on the chain already: `quorate job show` it, or choose another --nonce",
    "ModelExists": "nothing needs to be registered: use the model by its id",
    "ModelNotMeasured": "the model is executed in steps: its row of 255s must be executed before it can be used",
    "NoConsumer": "the job was created without --consumer",
    "NoSeatGranted": "the jury is full",
    "NotEnoughFreeStake": "deposit more, or wait until locked seats are released",
    "NotWholeGwei": "stake comes in whole gwei: round the amount to 1000000000 wei",
    "NothingToRelease": "everything was released before",
    "NothingToWithdraw": "`quorate stake show` says what is locked and when unbonding stake is ready",
    "PaymentRefused": "name another payee: this one does not accept ether",
    "QuorumOutOfBounds": "choose a --quorum within those bounds",
    "SeatStakeTooLow": "raise --seat-stake, or leave it out: then the least the contract asks is used",
    "SeatsOutOfBounds": "choose --seats within those bounds",
    "StakeTooLarge": "no deployment holds that much stake",
    "TotalStakeTooLow": "lower --seats or --seat-stake, or wait until workers have staked more",
    "UnknownJob": "check the job id and the network",
    "UnknownModel": "register it first: `quorate model register`",
    "WindowOutOfBounds": "choose a window within those bounds; challenge must be at least as long as commit",
    "WrongPhase": "that window is over or not yet open: `quorate job show` says where the job stands",
    "ZeroAmount": "give more than nothing",
}
"""What to do about a contract's refusal, by its error's name."""

AMOUNTS = {
    "BadVerificationSet": ("auditBond",),
    "BondTooLow": ("bond", "got"),
    "CallOutFeeTooHigh": ("callOutFee", "most"),
    "NotEnoughFreeStake": ("free", "needed"),
    "NotWholeGwei": ("amount",),
    "NothingToWithdraw": ("unbonding",),
    "PaymentRefused": ("amount",),
    "SeatStakeTooLow": ("seatStake", "least"),
    "StakeTooLarge": ("total",),
    "TotalStakeTooLow": ("totalStake", "needed"),
    "WrongPayment": ("expected", "got"),
}
"""Which arguments of a refusal are wei."""

_CODES_BY_REVERT = {
    "NotEnoughFreeStake": ExitCode.FUNDS,
    "UnknownJob": ExitCode.NOT_FOUND,
    "UnknownModel": ExitCode.NOT_FOUND,
}


def explain(error: BaseException) -> Failure | None:
    """The failure that an exception stands for; None for one that nobody foresaw, which is a bug of ours."""
    if isinstance(error, Refusal):
        return Failure(error.code, str(error))
    if isinstance(error, errors.Reverted):
        return _explain_revert(error)
    if isinstance(error, transactor.NotEnoughFunds):
        return Failure(ExitCode.FUNDS, _explain_lack(error))
    for kinds, code in _table():
        if isinstance(error, kinds):
            return Failure(code, _text(error))
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return Failure(ExitCode.BAD_INPUT, f"{place}{error.strerror or error}")
    return None


def _explain_lack(error: transactor.NotEnoughFunds) -> str:
    return (
        f"{error.address} has {amounts.show(error.has)} and needs {amounts.show(error.needs)} (value, and gas at the "
        f"highest fee allowed): send it {amounts.show(error.needs - error.has)} more (`quorate account send`)"
    )


def _explain_revert(error: errors.Reverted) -> Failure:
    if not isinstance(error, errors.OracleRevert):
        return Failure(ExitCode.REFUSED, f"the contract refused: {error}")
    named = _phases_named(error.args_by_name) if error.name == "WrongPhase" else error.args_by_name
    values = ", ".join(f"{name} {_value(error.name, name, value)}" for name, value in named.items())
    advice = ADVICE.get(error.name)
    sentence = f"the contract refused: {error.name}" + (f" ({values})" if values else "")
    code = _CODES_BY_REVERT.get(error.name, ExitCode.REFUSED)
    return Failure(code, f"{sentence}: {advice}" if advice else sentence)


def _phases_named(values: Mapping[str, object]) -> dict[str, object]:
    """The arguments of WrongPhase with words for the numbers that are phases."""
    names = {phase.value: phase.name.lower() for phase in Phase}
    is_phase = {"current", "needed"}
    return {
        name: names.get(value, value) if name in is_phase and isinstance(value, int) else value
        for name, value in values.items()
    }


def _value(refusal: str, name: str, value: object) -> str:
    if isinstance(value, int) and name in AMOUNTS.get(refusal, ()):
        return amounts.show(value)
    if not isinstance(value, bytes):
        return str(value)
    word = value.rstrip(b"\0")
    if len(value) == 32 and word and word.isalnum():  # a name such as "commitWindow"
        return word.decode("ascii")
    return "0x" + value.hex()


def _text(error: BaseException) -> str:
    """The message with what was noted along the way (which call of several it was)."""
    return "; ".join([str(error), *getattr(error, "__notes__", [])])


def _table() -> list[tuple[type[BaseException] | tuple[type[BaseException], ...], ExitCode]]:
    """The first row that fits decides. Read only when something failed: some of these modules are slow to import."""
    import zipfile

    from pydantic import ValidationError

    from coordinator.database import StoreInUse, StoreUnusable
    from models.form import RefusedModel
    from models.program_reader import BadProgram
    from models.scaling import BadFeatures
    from models.zoo import UnknownModel
    from oracle_worker.data_errors import DataError, DataUnavailable
    from oracle_worker.messages import BadSecret
    from oracle_worker.model_store import ModelNotFound, WrongModel
    from oracle_worker.passport import BadPassport, PassportRefused
    from oracle_worker.settings import BadSettings

    return [
        ((transactor.NoKey, keystore.KeystoreError), ExitCode.KEY),
        (transactor.NotMined, ExitCode.UNFINISHED),
        (
            (
                transactor.DeadlinePassed,
                transactor.FeeAboveCeiling,
                transactor.NonceTaken,
                transactor.TransactionFailed,
                transactor.PartlySent,
            ),
            ExitCode.REFUSED,
        ),
        (ChainError, ExitCode.CHAIN),
        (PassportRefused, ExitCode.FAILED),
        (BadPassport, ExitCode.BAD_INPUT),
        (profiles.UnknownNetwork, ExitCode.USAGE),
        ((profiles.BadProfile, BadDeployment, ValidationError), ExitCode.BAD_INPUT),
        ((RefusedModel, BadProgram, BadFeatures, zipfile.BadZipFile), ExitCode.BAD_INPUT),
        ((UnknownModel, ModelNotFound, DataUnavailable), ExitCode.NOT_FOUND),
        ((DataError, WrongModel, BadSettings, BadSecret, StoreInUse, StoreUnusable), ExitCode.BAD_INPUT),
    ]
