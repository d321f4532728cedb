"""Challenging: compute finds what is due against wrong roots and for the right one, the signer checks and sends it.

Every wrong result root is refuted, every demand on the right one is answered, seated or not. A withheld root is demanded
down, level by level, until a leaf is known that the chain's own execution contradicts; nothing is guessed, and no file of
anybody else's is read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from contracts import gas_budget, merkle
from contracts import job as protocol
from contracts.disputes import InputProof, Node, ResultProof
from contracts.endpoint import Call
from contracts.errors import OracleRevert
from contracts.job import Job, Phase
from oracle_worker import disputes, policy
from oracle_worker.chain_view import History, Sight
from oracle_worker.computing import compute_tree, is_seated, prepare
from oracle_worker.context import ComputeContext, SignerContext
from oracle_worker.disputes import Action, Answer, GiveLeaf, GiveNodes, MakeDemand, MakeRefutation
from oracle_worker.duties import send
from oracle_worker.inference import JobInference
from oracle_worker.job_codec import BadMessage, action_from_json, job_from_json
from oracle_worker.result import Nothing, Result, WorkerError
from oracle_worker.result_tree import ResultTree

log = logging.getLogger(__name__)


class OwnResultWrong(WorkerError):
    """The chain's execution agrees with the root that this operator's own results contradict."""

    def __init__(self, job_id: bytes, index: int) -> None:
        super().__init__(
            f"job 0x{job_id.hex()}, item {index}: the chain computes what the other root says. This operator's own results "
            "are wrong: stop it, and check its machine and its ONNX Runtime against `quorate model check`"
        )
        self.job_id = job_id
        self.index = index


def examine(context: ComputeContext, job: Job, data_uri: str) -> list[Action]:
    """What is due in the job's disputes now, from one's own results (computed if they are not on disk) and the chain.

    Raises DataError, WrongModel, ModelNotFound; PolicyRefusal for a job too large, unless this worker is seated in it.
    """
    sight = context.view.sight(job)
    if sight.phase != Phase.CHALLENGING:
        return []
    history = context.view.history(sight)
    if all(root in history.refuted for root in history.revealed):
        return []
    work = prepare(context, sight, data_uri, bounded=not is_seated(context, sight))
    tree = compute_tree(context, work)
    actions = list(_answers_due(sight, history, work, tree))
    for root in history.revealed:
        if root != tree.root and root not in history.refuted:
            actions += _against(history, work, tree, root)
    return actions


def dispute(context: SignerContext, body: Mapping[str, Any]) -> Result:
    """Do what compute found due. `body` is from an authentic message. Raises BadMessage, and what `act` raises."""
    if set(body) != {"job", "action"}:
        raise BadMessage("dispute takes job and action")
    return act(context, job_from_json(body["job"])[0], action_from_json(body["action"]))


def act(context: SignerContext, job: Job, action: Action) -> Result:
    """Send a dispute action if it is still due and within the operator's means. Raises OwnResultWrong, PolicyRefusal."""
    sight = context.view.sight(job)
    duty = _name_of(action)
    if sight.phase != Phase.CHALLENGING:
        return Nothing(duty, f"the job is {sight.phase.name}")
    tally = context.contracts.oracle.tally(sight.job_id, _root_of(action), sight.head.number)
    if tally.seats == 0 or tally.refuted:
        return Nothing(duty, "the root is refuted" if tally.refuted else "nobody revealed this root")
    match action:
        case MakeDemand(node):
            return _demand(context, sight, node, tally.open_demands)
        case GiveNodes(node, nodes, siblings):
            call = context.contracts.disputes.answer(job, node, nodes, siblings)
            return _answer(context, sight, node, call, duty)
        case GiveLeaf(result, given):
            node = Node(result.root, merkle.last_level(sight.depth), result.index)
            return _answer(context, sight, node, context.contracts.disputes.answer_leaf(job, result, given), duty)
        case MakeRefutation(result, given):
            return _refute(context, sight, result, given)


def _demand(context: SignerContext, sight: Sight, node: Node, open_demands: int) -> Result:
    price = _bond(context, sight, node, open_demands)
    _check_bond(context, sight, price)
    call = context.contracts.disputes.demand(sight.job, node, price)
    overtaken = ("WrongPhase", "AlreadyDemanded", "AlreadyRefuted", "DemandTooLate", "BondTooLow", "ParentNotAnswered")
    end = protocol.demand_end(sight.state, sight.job.terms, node.level)
    return send(context, "demand", call, overtaken, deadline=end, detail=f"node {node.index} of level {node.level}")


def _answer(context: SignerContext, sight: Sight, node: Node, call: Call, duty: str) -> Result:
    made = context.contracts.disputes.demand_of(sight.job_id, node, sight.head.number)
    if not made.made or made.answered:
        return Nothing(duty, "it is answered" if made.answered else "nobody demanded it")
    overtaken = ("WrongPhase", "NotDemanded", "AnswerTooLate", "AlreadyRefuted")
    detail = f"node {node.index} of level {node.level}"
    return send(context, duty, call, overtaken, deadline=made.answer_by, detail=detail)


def _refute(context: SignerContext, sight: Sight, result: ResultProof, given: InputProof) -> Result:
    call = context.contracts.disputes.refute(sight.job, result, given)
    end = protocol.challenge_end(sight.state, sight.job.terms)
    detail = f"item {result.index} of 0x{result.root.hex()}"
    try:
        return send(context, "refute", call, ("WrongPhase", "AlreadyRefuted"), deadline=end, detail=detail)
    except OracleRevert as refusal:
        if refusal.name == "LeafIsRight":
            raise OwnResultWrong(sight.job_id, result.index) from refusal
        raise


def _bond(context: SignerContext, sight: Sight, node: Node, open_demands: int) -> int:
    """Wei to send with a demand: enough if the base fee doubles before it lands. What is too much is credited back."""
    row_length = context.contracts.registry.model(sight.job.terms.model_id).row_length
    price = max(context.contracts.oracle.bounds().reference_price, 2 * sight.head.base_fee)
    return gas_budget.bond(node.level, sight.depth, row_length, price, open_demands)


def _check_bond(context: SignerContext, sight: Sight, bond: int) -> None:
    settings = context.settings
    if bond > settings.most_bond:
        raise policy.PolicyRefusal(f"the bond is {bond} wei, more than most_bond allows ({settings.most_bond})")
    demands = context.view.history(sight).demands.values()
    paid = sum(made.bond for made in demands if made.demander == context.worker)
    if paid + bond > settings.most_bonds_per_job:
        raise policy.PolicyRefusal(
            f"{paid} wei are out in bonds for this job; {bond} more pass most_bonds_per_job ({settings.most_bonds_per_job})"
        )


def _answers_due(sight: Sight, history: History, work: JobInference, tree: ResultTree) -> Iterator[Action]:
    for made in history.open_demands():
        node = made.node
        if node.root != tree.root or sight.head.timestamp >= made.answer_by:
            continue
        given = disputes.answer(tree, node.level, node.index)
        if isinstance(given, Answer):
            yield GiveNodes(node, given.nodes, given.siblings)
        else:
            result = ResultProof(node.root, node.index, given.leaf, given.siblings)
            yield GiveLeaf(result, _input_proof(work, node.index))


def _against(history: History, work: JobInference, tree: ResultTree, root: bytes) -> Iterator[Action]:
    """The next step against one wrong root."""
    answers = {(node.level, node.index): nodes for node, nodes in history.answers.items() if node.root == root}
    demanded = {(node.level, node.index) for node in history.demands if node.root == root}
    match disputes.next_step(tree, root, answers, demanded):
        case disputes.Demand(level, index):
            yield MakeDemand(Node(root, level, index))
        case disputes.Refute(index, leaf, siblings):
            yield MakeRefutation(ResultProof(root, index, leaf, siblings), _input_proof(work, index))
        case disputes.Wait(level, index):
            log.info("0x%s: waiting for the answer to node %d of level %d", root.hex(), index, level)


def _input_proof(work: JobInference, index: int) -> InputProof:
    """The row and its proof; nothing past the job's items, where leaves are empty."""
    if index >= work.data.plan.item_count:
        return InputProof()
    row, siblings = work.data.proof(index)
    return InputProof(row, tuple(siblings))


def _root_of(action: Action) -> bytes:
    match action:
        case MakeDemand(node) | GiveNodes(node, _, _):
            return node.root
        case GiveLeaf(result, _) | MakeRefutation(result, _):
            return result.root


def _name_of(action: Action) -> str:
    return {MakeDemand: "demand", GiveNodes: "answer", GiveLeaf: "answer_leaf", MakeRefutation: "refute"}[type(action)]
