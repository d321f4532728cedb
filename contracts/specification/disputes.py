"""While Challenging, against revealed result roots: refute one by executing an item, demand the nodes that nobody published
until there is an item to execute, or execute everything. Nothing is forfeited here; settlement applies it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from contracts import gas_budget, merkle
from contracts.job import Job, Phase, Terms
from contracts.specification.books import burn, credit, receive
from contracts.specification.phases import demand_end, require_phase
from contracts.specification.state import Address, Demand, Environment, JobRecord, NodeKey, State, refuse, require
from contracts.specification.vote import bounty_on, open_demands, refuter_of, result_roots

if TYPE_CHECKING:
    from contracts.disputes import InputProof, Node, ResultProof

# ---- Refute


def refute(state: State, env: Environment, job: Job, result: ResultProof, given: InputProof) -> None:
    """Refute a root: the chain executes one row and finds another leaf there than the root has."""
    job_id, record = require_phase(state, env, job, Phase.CHALLENGING)
    check_unrefuted(job_id, record, result.root)
    check_result(record.terms, result)
    right = find_right_leaf(state, record.terms, result.index, given)
    require(right != result.leaf, "LeafIsRight", result.index, result.leaf)

    note_refutation(state, env, job_id, result, right)


def note_refutation(state: State, env: Environment, job_id: bytes, result: ResultProof, right: bytes) -> None:
    """The sender has refuted the root."""
    record = state.jobs[job_id]
    state.jobs[job_id] = replace(record, refuters={**record.refuters, result.root: env.sender})
    state.emit(
        "Refuted",
        jobId=job_id,
        root=result.root,
        index=result.index,
        leaf=result.leaf,
        rightLeaf=right,
        refuter=env.sender,
    )


def find_right_leaf(state: State, terms: Terms, index: int, given: InputProof) -> bytes:
    """The leaf that should stand at `index`: the empty one where nothing can be executed, that is past itemCount, and on a
    row that is not of the model's length. Refuses a row that is not the job's."""
    is_padding = index >= terms.item_count
    if is_padding and not given.row and not given.siblings:
        return merkle.EMPTY_LEAF
    check_input(terms, index, given)
    registry = state.deployment.registry
    model = registry.model(terms.model_id)
    if len(given.row) != model.row_length:
        return merkle.EMPTY_LEAF
    if model.is_stepwise:
        return merkle.result_leaf(index, registry.output_of(terms.model_id, merkle.input_leaf(given.row)))
    return merkle.result_leaf(index, registry.execute(terms.model_id, given.row))


# ---- Guards


def check_revealed(job_id: bytes, record: JobRecord, root: bytes) -> None:
    """Refuse a word that no seat revealed as a result."""
    require(root in result_roots(record), "UnknownRoot", job_id, root)


def check_unrefuted(job_id: bytes, record: JobRecord, root: bytes) -> None:
    """Refuse a root that nobody revealed, or that was refuted by execution."""
    check_revealed(job_id, record, root)
    require(refuter_of(record, root) is None, "AlreadyRefuted", job_id, root)


def check_result(terms: Terms, result: ResultProof) -> None:
    """Refuse a leaf that is not where it is said to be."""
    is_there = merkle.verify(result.root, terms.item_count, result.index, result.leaf, result.siblings)
    require(is_there, "BadResultProof", result.root, result.index)


def check_input(terms: Terms, index: int, given: InputProof) -> None:
    """Refuse a row that is not the job's at that index."""
    leaf = merkle.input_leaf(given.row)
    is_there = merkle.verify(terms.data_root, terms.item_count, index, leaf, given.siblings)
    require(is_there and index < terms.item_count, "BadInputProof", terms.data_root, index)


# ---- Demand and answer


def demand(state: State, env: Environment, job: Job, node: Node) -> None:
    """Demand what is below a node of a revealed root (at the last level: the leaf and its row), once ever. The payment must
    reach the bond; the rest is credited back. A root with an unanswered demand does not stand."""
    job_id, record = require_phase(state, env, job, Phase.CHALLENGING)
    check_unrefuted(job_id, record, node.root)
    check_demandable(env, record, node)
    bond = bond_for(state, env, record, node.root, node.level)
    require(env.value >= bond, "BondTooLow", bond, env.value)

    receive(state, env)
    answer_by = env.timestamp + record.terms.response_window
    made = Demand(env.sender, bond, answer_by)
    state.jobs[job_id] = replace(record, demands={**record.demands, key_of(node): made})
    credit(state, env.sender, env.value - bond)
    state.emit(
        "Demanded",
        jobId=job_id,
        root=node.root,
        level=node.level,
        index=node.index,
        demander=env.sender,
        bond=bond,
        answerBy=answer_by,
    )


def check_demandable(env: Environment, record: JobRecord, node: Node) -> None:
    """Refuse a node that is none, that was demanded before, that comes too late, or whose parent was not answered."""
    terms = record.terms
    depth = merkle.depth_of(terms.item_count)
    last = merkle.last_level(depth)
    require(node.level <= last, "NoSuchNode", node.level, node.index)
    width = terms.item_count if node.level == last else merkle.level_width(node.level, depth)
    require(node.index < width, "NoSuchNode", node.level, node.index)
    require(key_of(node) not in record.demands, "AlreadyDemanded", node.root, node.level, node.index)
    end = demand_end(record, node.level)
    require(env.timestamp < end, "DemandTooLate", node.level, end)
    if node.level > 0:
        parent = record.demands.get(parent_of(node, depth))
        is_answered = parent is not None and parent.answerer is not None
        require(is_answered, "ParentNotAnswered", node.root, node.level, node.index)


def bond_for(state: State, env: Environment, record: JobRecord, root: bytes, level: int) -> int:
    """Wei that a demand costs: four times its answer's gas at the higher of base fee and reference price, growing with the
    open demands on the root, so that floods are dear and answers always paid."""
    price = max(env.base_fee, state.deployment.bounds.reference_price)
    row_length = state.deployment.registry.model(record.terms.model_id).row_length
    depth = merkle.depth_of(record.terms.item_count)
    return gas_budget.bond(level, depth, row_length, price, len(open_demands(record, root)))


def key_of(node: Node) -> NodeKey:
    """The node, as the record names it."""
    return (node.root, node.level, node.index)


def parent_of(node: Node, depth: int) -> NodeKey:
    """The node above, whose answer showed this one."""
    step = merkle.level_depth(node.level, depth) - merkle.level_depth(node.level - 1, depth)
    return (node.root, node.level - 1, node.index >> step)


def answer(
    state: State, env: Environment, job: Job, node: Node, nodes: Sequence[bytes], siblings: Sequence[bytes]
) -> None:
    """Answer a demand above the last level with the node's descendants at the next level and its path to the root. The bond
    is the answerer's, unless the root is refuted by execution after all."""
    job_id, record = require_phase(state, env, job, Phase.CHALLENGING)
    check_unrefuted(job_id, record, node.root)
    depth = merkle.depth_of(record.terms.item_count)
    last = merkle.last_level(depth)
    require(node.level < last, "WrongLevel", node.level, last)
    require(is_made_of(node, depth, nodes, siblings), "BadAnswer", node.root, node.level, node.index)

    close_demand(state, env, job_id, key_of(node))
    state.emit(
        "Answered",
        jobId=job_id,
        root=node.root,
        level=node.level,
        index=node.index,
        answerer=env.sender,
        nodes=tuple(nodes),
    )


def is_made_of(node: Node, depth: int, nodes: Sequence[bytes], siblings: Sequence[bytes]) -> bool:
    """Whether these are all the node's descendants at the next level."""
    above, below = merkle.level_width(node.level, depth), merkle.level_width(node.level + 1, depth)
    if len(nodes) != below // above:
        return False
    return merkle.verify(node.root, above, node.index, merkle.MerkleTree(nodes).root, siblings)


def answer_leaf(state: State, env: Environment, job: Job, result: ResultProof, given: InputProof) -> None:
    """Answer a demand at the last level with the leaf, the row and both paths."""
    job_id, record = require_phase(state, env, job, Phase.CHALLENGING)
    check_unrefuted(job_id, record, result.root)
    check_result(record.terms, result)
    check_input(record.terms, result.index, given)

    last = merkle.last_level(merkle.depth_of(record.terms.item_count))
    close_demand(state, env, job_id, (result.root, last, result.index))
    state.emit(
        "LeafAnswered",
        jobId=job_id,
        root=result.root,
        index=result.index,
        answerer=env.sender,
        leaf=result.leaf,
        row=given.row,
        siblings=tuple(given.siblings),
    )


def close_demand(state: State, env: Environment, job_id: bytes, node: NodeKey) -> None:
    """The sender has answered, if somebody asked and it is not too late."""
    record = state.jobs[job_id]
    made = record.demands.get(node)
    if made is None or made.answerer is not None:
        refuse("NotDemanded", *node)
    require(env.timestamp < made.answer_by, "AnswerTooLate", made.answer_by)

    answered = replace(made, answerer=env.sender)
    state.jobs[job_id] = replace(record, demands={**record.demands, node: answered})


# ---- Whole-job and stepwise execution


def execute_job(state: State, env: Environment, job: Job, rows: bytes) -> None:
    """Execute every row: the true root is known, every other is refuted, and Challenging is over. It beats any vote."""
    job_id, record = require_phase(state, env, job, Phase.CHALLENGING)
    terms, registry = record.terms, state.deployment.registry
    model = registry.model(terms.model_id)
    is_complete = not model.is_stepwise and len(rows) == terms.item_count * model.row_length
    require(is_complete, "BadRows", terms.data_root)
    each = [rows[start : start + model.row_length] for start in range(0, len(rows), model.row_length)]
    data_root = merkle.MerkleTree(merkle.input_leaf(row) for row in each).root
    require(data_root == terms.data_root, "BadRows", terms.data_root)

    outputs = (registry.execute(terms.model_id, row) for row in each)
    leaves = [merkle.result_leaf(index, output) for index, output in enumerate(outputs)]
    true_root = merkle.MerkleTree(leaves).root
    state.jobs[job_id] = replace(record, true_root=true_root, executor=env.sender)
    state.emit("Executed", jobId=job_id, root=true_root, executor=env.sender)


def extend_challenge(state: State, env: Environment, job: Job, result: ResultProof, given: InputProof) -> None:
    """Give the stepwise execution of one item under a root one more response window; once a job."""
    job_id, record = require_phase(state, env, job, Phase.CHALLENGING)
    check_unrefuted(job_id, record, result.root)
    require(not record.is_extended, "AlreadyExtended", job_id)
    terms, model = record.terms, state.deployment.registry.model(record.terms.model_id)
    require(model.is_stepwise, "ModelNotStepwise", terms.model_id)
    check_result(terms, result)
    check_input(terms, result.index, given)

    state.jobs[job_id] = replace(record, is_extended=True)
    state.emit("ChallengeExtended", jobId=job_id, root=result.root, index=result.index, challenger=env.sender)


# ---- After settlement


def release_bounty(state: State, env: Environment, job: Job, root: bytes) -> None:
    """Credit the refuter of a root."""
    job_id, record = require_phase(state, env, job, Phase.SETTLED)
    check_revealed(job_id, record, root)
    refuter = refuter_of(record, root)
    if refuter is None or root in record.bounties_released:
        refuse("NothingToRelease")

    amount = bounty_on(record, root)
    state.jobs[job_id] = replace(record, bounties_released=record.bounties_released | {root})
    credit(state, refuter, amount)
    state.emit("BountyReleased", jobId=job_id, root=root, refuter=refuter, amount=amount)


def release_bond(state: State, env: Environment, job: Job, node: Node) -> None:
    """Credit a demand's bond to whom it belongs; burn what belongs to nobody."""
    job_id, record = require_phase(state, env, job, Phase.SETTLED)
    check_revealed(job_id, record, node.root)
    made = record.demands.get(key_of(node))
    if made is None or made.is_released:
        refuse("NothingToRelease")

    payee, amount = divide_bond(record, node.root, made)
    demands = {**record.demands, key_of(node): replace(made, is_released=True)}
    state.jobs[job_id] = replace(record, demands=demands)
    credit(state, payee, amount)
    burn(state, made.bond - amount)
    state.emit(
        "BondReleased",
        jobId=job_id,
        root=node.root,
        level=node.level,
        index=node.index,
        payee=payee,
        amount=amount,
    )


def divide_bond(record: JobRecord, root: bytes, made: Demand) -> tuple[Address, int]:
    """Who gets the bond, and how much of it. Answers in a refuted lie's favour earn nothing. Silence says nothing about the
    true root, once it is known. Of a silenced root's demanders all together get one bond's worth: a lone one is made whole,
    a flood burns."""
    if refuter_of(record, root) is not None:
        return made.demander, made.bond
    if made.answerer is not None:
        return made.answerer, made.bond
    if root == record.true_root:
        return made.demander, made.bond
    return made.demander, made.bond // len(open_demands(record, root))
