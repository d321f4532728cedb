"""The requester's verification set: items whose verdicts it committed to beforehand, hidden by salts. An opened item that
contradicts a root refutes nothing by itself: it is an accusation of one of the two, which anyone settles by executing it.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

from contracts import merkle
from contracts.job import Job, Phase, Terms
from contracts.specification.books import burn, credit
from contracts.specification.disputes import check_result, check_unrefuted, find_right_leaf, note_refutation
from contracts.specification.phases import demand_end, require_phase
from contracts.specification.state import Environment, JobRecord, State, require
from contracts.specification.vote import refuter_of

if TYPE_CHECKING:
    from contracts.disputes import Gold, InputProof, ResultProof


def accuse(state: State, env: Environment, job: Job, gold: Gold, result: ResultProof) -> None:
    """Open an item of the verification set against a root whose leaf there says otherwise, early enough to be executed."""
    job_id, record = require_phase(state, env, job, Phase.CHALLENGING)
    check_unrefuted(job_id, record, result.root)
    end = demand_end(record, 0) - record.terms.response_window
    require(env.timestamp < end, "GoldTooLate", end)
    accusation = (gold.position, result.root)
    require(accusation not in record.accusations, "AlreadyAccused", job_id, *accusation)
    check_gold(record.terms, gold, result)
    require(claimed_leaf(gold) != result.leaf, "GoldAgrees", gold.index)

    state.jobs[job_id] = replace(record, accusations={**record.accusations, accusation: True})
    state.emit(
        "Accused",
        jobId=job_id,
        root=result.root,
        gold=gold.as_tuple(),
        leaf=result.leaf,
        siblings=tuple(result.siblings),
    )


def judge(state: State, env: Environment, job: Job, gold: Gold, result: ResultProof, given: InputProof) -> None:
    """Execute an accused item. If the root is wrong, it is refuted, with the bounty; if the gold is wrong, half of the audit
    bond is the sender's at settlement, and half is burned."""
    job_id, record = require_phase(state, env, job, Phase.CHALLENGING)
    accusation = (gold.position, result.root)
    require(record.accusations.get(accusation, False), "NotAccused", job_id, *accusation)
    check_gold(record.terms, gold, result)
    right = find_right_leaf(state, record.terms, gold.index, given)

    is_gold_right = claimed_leaf(gold) == right
    gold_refuter = record.gold_refuter
    if not is_gold_right and gold_refuter is None:
        gold_refuter = env.sender
    accusations = {**record.accusations, accusation: False}
    state.jobs[job_id] = replace(record, accusations=accusations, gold_refuter=gold_refuter)
    state.emit(
        "AccusationJudged",
        jobId=job_id,
        root=result.root,
        position=gold.position,
        goldRight=is_gold_right,
        executor=env.sender,
    )
    if right != result.leaf and refuter_of(record, result.root) is None:
        note_refutation(state, env, job_id, result, right)


def check_gold(terms: Terms, gold: Gold, result: ResultProof) -> None:
    """Refuse what is no item of the verification set, and a result of another item."""
    require(gold.index < merkle.MOST_ITEMS, "IndexOutOfRange", gold.index)
    is_item = gold.index < terms.item_count and is_in_verification_set(terms, gold)
    require(is_item, "BadGold", terms.gold_root, gold.position)
    require(result.index == gold.index, "BadResultProof", result.root, result.index)
    check_result(terms, result)


def is_in_verification_set(terms: Terms, gold: Gold) -> bool:
    """Whether the requester committed to the item."""
    if gold.position >= terms.gold_count:
        return False
    leaf = sha256(gold.index.to_bytes(8, "big") + gold.output + gold.salt).digest()
    return merkle.verify(terms.gold_root, terms.gold_count, gold.position, leaf, gold.siblings)


def claimed_leaf(gold: Gold) -> bytes:
    """The result leaf that the requester's verdict makes."""
    return merkle.result_leaf(gold.index, gold.output)


def close_audit(state: State, record: JobRecord) -> None:
    """At settlement: half of the bond is whoever's showed that the gold was wrong, and half is burned; all of it is burned if
    nobody executed an accused item, neither by itself nor with the whole job; else it goes back."""
    bond = record.terms.audit_bond
    is_unexecuted = any(record.accusations.values()) and record.true_root is None
    if record.gold_refuter is not None:
        credit(state, record.gold_refuter, bond // 2)
        burn(state, bond - bond // 2)
    elif is_unexecuted:
        burn(state, bond)
    else:
        credit(state, record.job.requester, bond)
