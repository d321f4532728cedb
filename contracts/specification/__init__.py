"""The protocol, as a specification that runs: what each entry point refuses, changes and says.

    state = deploy(deployment)
    state = transact(state, env, deposit)
    state = transact(state, env, commit, job, lane, commitment, sealed_root, tickets)

Read it in this order: state (what is remembered), phases (where a job stands), vote (who wins, and what each seat gets),
books (money), terms, lifecycle, settlement, disputes, audit, transaction. It says what happens, not how the contracts
store it: seats are counted by looking at all of them, stake that is locked by looking at all jobs. The contracts are played
against it, call by call, in tests/invariants.

Verbs tell what changes: `find_`, `is_`, `…_of`, `…_on` and plain nouns compute; `check_` and `require` refuse; everything
else (`credit`, `burn`, `set_stake`, `note_…`, `close_…`) changes the state that it is given.
"""

from contracts.specification.audit import accuse, judge
from contracts.specification.disputes import (
    answer,
    answer_leaf,
    demand,
    execute_job,
    extend_challenge,
    refute,
    release_bond,
    release_bounty,
)
from contracts.specification.lifecycle import (
    commit,
    commit_for,
    create_job,
    deposit,
    draw,
    reveal,
    unbond,
    withdraw,
)
from contracts.specification.settlement import deliver, is_verdict, release, settle
from contracts.specification.state import (
    Deployment,
    Environment,
    Event,
    JobRecord,
    Refused,
    RegisteredModel,
    Registry,
    State,
)
from contracts.specification.transaction import ENTRY_POINTS, PAYABLE, deploy, multicall, transact

__all__ = [
    "ENTRY_POINTS",
    "PAYABLE",
    "Deployment",
    "Environment",
    "Event",
    "JobRecord",
    "Refused",
    "RegisteredModel",
    "Registry",
    "State",
    "accuse",
    "answer",
    "answer_leaf",
    "commit",
    "commit_for",
    "create_job",
    "deliver",
    "demand",
    "deploy",
    "deposit",
    "draw",
    "execute_job",
    "extend_challenge",
    "is_verdict",
    "judge",
    "multicall",
    "refute",
    "release",
    "release_bond",
    "release_bounty",
    "reveal",
    "settle",
    "transact",
    "unbond",
    "withdraw",
]
