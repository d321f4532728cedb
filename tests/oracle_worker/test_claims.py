"""Jobs that pay a token: what the operator's policy makes of them, and that no claim is lost with its lane."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_typing import ChecksumAddress
from numpy.typing import NDArray

from contracts import abi, token_jobs
from contracts.job import Job, Outcome, Terms, data_uri_hash, quorum_bounds
from contracts.token_jobs import NATIVE, Token, TokenJobs
from coordinator import earnings
from coordinator.claims import Claims
from coordinator.job_store import JobStore, Source
from coordinator.watcher import Watcher
from oracle_worker import claims, duties, pay, settings, settlement
from oracle_worker.policy import PolicyRefusal
from oracle_worker.settings import BadSettings
from tests.oracle_worker.stage import ETHER, WINDOW, Operator, Posted, Stage, done, nothing

Rows = NDArray[np.uint8]
TOKEN = abi.load(Path(__file__).parents[1] / "solidity" / "artifacts" / "GoodToken.json")
AMOUNT = 1_000 * 10**18
PRICE = ETHER // 1000


@dataclass
class Till:
    """TokenJobs and a token of the requester's on a stage."""

    stage: Stage
    jobs: TokenJobs
    token: ChecksumAddress

    @property
    def policy(self) -> dict[str, Any]:
        """The settings of an operator that takes the token."""
        return {"token_jobs": self.jobs.address, "token_prices": f"{self.token}={PRICE}"}

    def post(self, rows: Rows, seats: int, *, token: ChecksumAddress | None = None) -> Posted:
        """A job that pays AMOUNT, drawn when this returns."""
        owner = self.stage.owner
        uri, root = self.stage.store(rows)
        windows = dict.fromkeys(("commit_window", "reveal_window", "challenge_window", "response_window"), WINDOW)
        terms = Terms(
            model_id=self.stage.model_id,
            data_root=root,
            data_uri_hash=data_uri_hash(uri),
            item_count=len(rows),
            seats=seats,
            quorum=quorum_bounds(seats)[1],
            seat_stake=self.stage.seat_stake(),
            reward=0,
            **windows,
        )
        self.stage.mine(1)
        nonce = owner.endpoint.web3.eth.block_number
        paid_in = self.token if token is None else token
        owner.send(self.jobs.create_job(paid_in, AMOUNT, nonce, terms, uri, AMOUNT // 10))
        self.stage.mine(3)
        job: Job = self.jobs.job(owner.sender, nonce, terms)
        return Posted(job, uri, job.id(owner.endpoint.chain_id, self.stage.contracts.deployment.oracle))

    def live_through(self, rows: Rows, jury: list[Operator], keeper: Operator, **given: Any) -> Posted:
        """A job that the jury agrees on; whoever settles it releases everybody's seats."""
        posted = self.post(rows, len(jury), **given)
        done(duties.draw(jury[0].roles.signer, posted.job))
        for one in jury:
            done(one.commit(posted))
        for one in jury:
            done(duties.reveal(one.roles.signer, posted.job))
        self.stage.advance(3 * WINDOW)
        done(settlement.settle(keeper.roles.signer, posted.job))
        assert self.stage.state(posted).outcome == Outcome.ACCEPTED
        assert all(one.is_released(posted) for one in jury)
        return posted

    def credit(self, operator: Operator) -> int:
        return self.jobs.credit(self.token, operator.account.address)


@pytest.fixture
def till(stage: Stage) -> Till:
    owner = stage.owner
    made = owner.send(token_jobs.creation(stage.contracts.deployment.oracle))["contractAddress"]
    factory = owner.web3.eth.contract(abi=TOKEN.abi, bytecode=TOKEN.bytecode)
    address = owner.send(factory.constructor())["contractAddress"]
    assert made is not None
    assert address is not None
    contract = owner.web3.eth.contract(address, abi=TOKEN.abi)
    owner.send(contract.functions.mint(owner.sender, 100 * AMOUNT))
    owner.send(Token(owner.endpoint, address).approve(made, 100 * AMOUNT))
    return Till(stage, TokenJobs(owner.endpoint, made), address)


def test_a_reward_in_tokens_is_claimed_once_whoever_settled_the_job(stage: Stage, wine: Rows, till: Till) -> None:
    jury, keeper = stage.jury(5, **till.policy), stage.operator()
    posted = till.live_through(wine, jury, keeper)
    one = jury[0].roles.signer
    assert "token_jobs" in nothing(claims.claim(keeper.roles.signer, posted.job)).reason
    done(claims.claim(one, posted.job))
    assert till.credit(jury[0]) == AMOUNT // 5
    assert "it is claimed" in nothing(claims.claim(one, posted.job)).reason
    bystander = stage.operator(**till.policy)
    assert "no seat" in nothing(claims.claim(bystander.roles.signer, posted.job)).reason


@pytest.mark.parametrize("disk", ["kept", "lost"])
def test_the_lane_is_not_used_again_before_its_last_jobs_reward_is_claimed(
    stage: Stage, wine: Rows, till: Till, disk: str
) -> None:
    jury, keeper = stage.jury(5, **till.policy), stage.operator()
    till.live_through(wine, jury, keeper)
    one = jury[0]
    assert till.credit(one) == 0
    if disk == "lost":
        one.lose_disk()
    else:
        one.restart()
    after = stage.post(wine, 5)
    done(duties.draw(one.roles.signer, after.job))
    done(one.commit(after))  # takes lane 0 again, which destroys the claim
    assert till.credit(one) == AMOUNT // 5
    careless = Operator(stage, jury[1].account, jury[1].folder)  # does not work for TokenJobs, and loses it
    done(careless.commit(after))
    assert till.credit(jury[1]) == 0


def test_a_seat_that_worked_in_vain_claims_its_fee_by_its_commitment(stage: Stage, wine: Rows, till: Till) -> None:
    jury = stage.jury(5, **till.policy)
    posted = till.post(wine, 5)
    done(duties.draw(jury[0].roles.signer, posted.job))
    done(jury[0].commit(posted))
    stage.advance(WINDOW)
    done(settlement.settle(jury[0].roles.signer, posted.job))
    assert stage.state(posted).outcome == Outcome.EXPIRED
    claims.clear(jury[0].roles.signer, 0)
    assert till.credit(jury[0]) == AMOUNT // 10 // 5
    claims.clear(jury[0].roles.signer, 0)  # nothing is left: nothing is sent
    claims.clear(jury[0].roles.signer, 7)  # never used


def test_the_coordinator_asks_for_claims_of_jobs_that_have_nothing_else_left(
    stage: Stage, wine: Rows, till: Till, tmp_path: Path
) -> None:
    jury, keeper = stage.jury(5, **till.policy), stage.operator()
    posted = till.live_through(wine, jury, keeper)
    deployment = stage.contracts.deployment
    with JobStore(tmp_path / "jobs.sqlite", Source(deployment.chain_id, deployment.oracle, deployment.block)) as store:
        watcher = Watcher(stage.contracts.endpoint, store, confirmations=0)
        watcher.catch_up()
        assert [view.job_id for view in store.open_views()] == []
        of = [Claims(stage.contracts.endpoint, till.jobs.address, one.account.address) for one in (jury[0], keeper)]
        block = watcher.catch_up().confirmed_block
        assert [[view.job_id for view in one.unclaimed(store, block)] for one in of] == [[posted.id], []]
        done(claims.claim(jury[0].roles.signer, posted.job))
        block = watcher.catch_up().confirmed_block
        assert list(of[0].unclaimed(store, block)) == []
        told = [
            earnings.read(store, stage.contracts.endpoint, one.account.address, block, jobs=till.jobs)
            for one in (jury[0], jury[1])
        ]
        assert [one.total.claimed for one in told] == [{till.token: AMOUNT // 5}, {}]
        assert told[0].entries[0].claimed == told[0].total.claimed
        assert (told[0].unknown, told[0].total.net) == (0, jury[0].balance() - 100 * ETHER)


def test_what_a_token_is_worth_is_the_operators_to_say(stage: Stage, wine: Rows, till: Till) -> None:
    stage.jury(5)
    posted = till.post(wine, 5)
    takes = stage.operator(**till.policy).roles.signer
    assert pay.reward(takes, posted.job) == 1_000 * PRICE
    assert pay.fee(takes, posted.job) == 1_000 * PRICE // 50
    assert pay.reward(stage.operator(token_jobs=till.jobs.address).roles.signer, posted.job) == 0
    assert pay.reward(stage.operator().roles.signer, posted.job) == 0
    native = stage.post(wine, 5)
    assert pay.reward(takes, native.job) == native.job.terms.reward
    assert pay.value(takes, NATIVE, 7) == 7
    nowhere = stage.operator(**{**till.policy, "token_prices": f"{stage.owner.sender}=1"}).roles.signer
    assert pay.value(nowhere, stage.owner.sender, AMOUNT) == 0  # no token is there


def test_a_job_whose_token_has_no_price_is_not_worth_the_gas(stage: Stage, wine: Rows, till: Till) -> None:
    (one,) = stage.jury(1, token_jobs=till.jobs.address)
    posted = till.post(wine, 1)
    done(duties.draw(one.roles.signer, posted.job))
    with pytest.raises(PolicyRefusal, match="least_gain"):
        one.commit(posted)


@pytest.mark.parametrize("given", ["0x12=5", "5", "{0}=", "{0}=x", "{0}=-1", "{0}=1.5"])
def test_a_price_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(BadSettings, match="QUORATE_TOKEN_PRICES"):
        settings.load(token_prices=given.format("0x" + "11" * 20))
