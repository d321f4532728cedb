"""The signer's part while Challenging: it checks what compute found due (examination), and sends it."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, TypeAlias

from contracts import gas_budget, merkle
from contracts import job as protocol
from contracts.disputes import Gold, InputProof, Node, ResultProof
from contracts.endpoint import Call
from contracts.errors import OracleRevert
from contracts.job import NOBODY, Job, Phase
from contracts.model_registry import Model
from oracle_worker import gas_money, policy
from oracle_worker.chain_view import Sight
from oracle_worker.context import SignerContext
from oracle_worker.disputes import (
    Action,
    AdvanceExecution,
    BeginExecution,
    ExecuteJob,
    ExtendChallenge,
    GiveLeaf,
    GiveNodes,
    MakeDemand,
    MakeJudgement,
    MakeRefutation,
)
from oracle_worker.job_codec import BadMessage, action_from_json, job_from_json
from oracle_worker.result import Nothing, Result, WorkerError
from oracle_worker.sending import send

STEPS = ("extend_challenge", "begin", "advance")
"""Duties after which the next one of an execution in steps can be found."""
OnRoot: TypeAlias = MakeDemand | GiveNodes | GiveLeaf | MakeRefutation | ExtendChallenge


class OwnResultWrong(WorkerError):
    """The chain's execution agrees with the root that this operator's own results contradict."""

    def __init__(self, job_id: bytes, index: int) -> None:
        super().__init__(
            f"job 0x{job_id.hex()}, item {index}: the chain computes what the other root says. This operator's own results "
            "are wrong: stop it, and check its machine and its ONNX Runtime against `quorate model check`"
        )
        self.job_id = job_id
        self.index = index


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
    match action:
        case ExecuteJob(rows):
            return _execute_job(context, sight, rows)
        case MakeJudgement(gold, result, given):
            return _judge(context, sight, gold, result, given)
        case BeginExecution(row):
            call = context.contracts.registry.begin(job.terms.model_id, row)
            return send(context, duty, call, ("ExecutionExists",), deadline=_end(sight), urgent=True)
        case AdvanceExecution(row_hash, state, values):
            call = context.contracts.registry.advance(job.terms.model_id, row_hash, state, values)
            overtaken = ("ExecutionOver", "StaleStep")
            return send(context, duty, call, overtaken, deadline=_end(sight), detail=f"{values} values", urgent=True)
        case _:
            return _act_on_root(context, sight, action, duty)


def _act_on_root(context: SignerContext, sight: Sight, action: OnRoot, duty: str) -> Result:
    root = action.node.root if isinstance(action, MakeDemand | GiveNodes) else action.result.root
    tally = context.contracts.oracle.tally(sight.job_id, root, sight.head.number)
    if tally.seats == 0 or tally.refuted:
        return Nothing(duty, "the root is refuted" if tally.refuted else "nobody revealed this root")
    job = sight.job
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
        case ExtendChallenge(result, given):
            call = context.contracts.disputes.extend_challenge(job, result, given)
            overtaken = ("WrongPhase", "AlreadyRefuted", "AlreadyExtended")
            return send(context, duty, call, overtaken, deadline=_end(sight), urgent=True)


def _demand(context: SignerContext, sight: Sight, node: Node, open_demands: int) -> Result:
    price = _bond(context, sight, node, open_demands)
    _check_bond(context, sight, price)
    call = context.contracts.disputes.demand(sight.job, node, price)
    overtaken = ("WrongPhase", "AlreadyDemanded", "AlreadyRefuted", "DemandTooLate", "BondTooLow", "ParentNotAnswered")
    end = protocol.demand_end(sight.state, sight.job.terms, node.level)
    detail = f"node {node.index} of level {node.level}"
    return send(context, "demand", call, overtaken, deadline=end, detail=detail, urgent=True, spare=True)


def _answer(context: SignerContext, sight: Sight, node: Node, call: Call, duty: str) -> Result:
    made = context.contracts.disputes.demand_of(sight.job_id, node, sight.head.number)
    if not made.made or made.answered:
        return Nothing(duty, "it is answered" if made.answered else "nobody demanded it")
    overtaken = ("WrongPhase", "NotDemanded", "AnswerTooLate", "AlreadyRefuted")
    detail = f"node {node.index} of level {node.level}"
    return send(context, duty, call, overtaken, deadline=made.answer_by, detail=detail, urgent=True)


def _refute(context: SignerContext, sight: Sight, result: ResultProof, given: InputProof) -> Result:
    call = context.contracts.disputes.refute(sight.job, result, given)
    detail = f"item {result.index} of 0x{result.root.hex()}"
    overtaken = ("WrongPhase", "AlreadyRefuted")
    try:
        return send(context, "refute", call, overtaken, deadline=_end(sight), detail=detail, urgent=True)
    except OracleRevert as refusal:
        if refusal.name == "LeafIsRight":
            raise OwnResultWrong(sight.job_id, result.index) from refusal
        raise


def _execute_job(context: SignerContext, sight: Sight, rows: bytes) -> Result:
    call = context.contracts.disputes.execute_job(sight.job, rows)
    detail = f"{sight.job.terms.item_count} items"
    return send(context, "execute_job", call, ("WrongPhase",), deadline=_end(sight), detail=detail, urgent=True)


def _judge(context: SignerContext, sight: Sight, gold: Gold, result: ResultProof, given: InputProof) -> Result:
    """Judge an accusation: of a wrong root in any case, as it would be refuted; of wrong gold if that still pays."""
    if not context.contracts.disputes.is_accused(sight.job_id, gold.position, result.root, sight.head.number):
        return Nothing("judge", "it is judged, or nobody accused it")
    model = context.contracts.registry.model(sight.job.terms.model_id)
    right = merkle.EMPTY_LEAF  # by the chain's own execution, not by one's own results
    if len(given.row) == model.row_length:
        right = merkle.result_leaf(gold.index, _output(context, sight, model, given.row))
    if result.leaf == right or context.contracts.oracle.tally(sight.job_id, result.root, sight.head.number).refuted:
        gain = _gain_of_wrong_gold(context, sight, gold, right)
        price = gas_money.usual(sight.head.base_fee)
        cost = price * gas_budget.refutation(model.execution_gas, sight.depth, model.row_length)
        if gain < cost:
            return Nothing("judge", f"it would earn {gain} wei and may cost {cost}")
    call = context.contracts.disputes.judge(sight.job, gold, result, given)
    detail = f"item {gold.index} of 0x{result.root.hex()}"
    return send(context, "judge", call, ("WrongPhase", "NotAccused"), deadline=_end(sight), detail=detail, urgent=True)


def _gain_of_wrong_gold(context: SignerContext, sight: Sight, gold: Gold, right: bytes) -> int:
    """Wei: half of the audit bond, if the gold is wrong and nobody showed that of any yet."""
    if merkle.result_leaf(gold.index, gold.output) == right:
        return 0
    audit = context.contracts.disputes.audit(sight.job_id, sight.head.number)
    return sight.job.terms.audit_bond // 2 if audit.executor == NOBODY else 0


def _output(context: SignerContext, sight: Sight, model: Model, row: bytes) -> bytes:
    """What the chain computes for a row; of a stepwise model, once its execution is finished."""
    model_id = sight.job.terms.model_id
    if model.stepwise:
        return context.contracts.registry.output_of(model_id, sha256(row).digest())
    return context.contracts.registry.execute(model_id, row)


def _end(sight: Sight) -> int:
    return protocol.challenge_end(sight.state, sight.job.terms)


def _bond(context: SignerContext, sight: Sight, node: Node, open_demands: int) -> int:
    """Wei to send with a demand: enough if the base fee doubles before it lands, or a liar's own demands double the bond:
    whoever would stop this one must more than double them with each try. What is too much is credited back."""
    row_length = context.contracts.registry.model(sight.job.terms.model_id).row_length
    price = 2 * max(context.contracts.oracle.bounds().reference_price, sight.head.base_fee)
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


def _name_of(action: Action) -> str:
    return {
        MakeDemand: "demand",
        GiveNodes: "answer",
        GiveLeaf: "answer_leaf",
        MakeRefutation: "refute",
        ExecuteJob: "execute_job",
        MakeJudgement: "judge",
        ExtendChallenge: "extend_challenge",
        BeginExecution: "begin",
        AdvanceExecution: "advance",
    }[type(action)]
