"""Growth within a run: when to look, what to add, and what it did."""

from collections.abc import Iterator
from dataclasses import replace

from senn import growth
from senn.batches import Batch, Chunk
from senn.evaluation import evaluate
from senn.evaluation import prepare as prepare_evaluation
from senn.expectation import Expected, by_price
from senn.growth import first_layer, propose_all
from senn.history import Addition, Consideration
from senn.policy import Decision, Verdict
from senn.proposals import Proposal
from senn.proposals.proposal import join
from senn.pruning import Going, among
from senn.training.looking import look, output_factors
from senn.training.phases import end_growth
from senn.training.pruning import NONE_BEST, leaving, over_budget, remove, remove_empty
from senn.training.run import Run
from senn.training.state import MANY, TrainState
from senn.training.step import steps


def prepare(run: Run) -> None:
    """Let steps, evaluations and the first look be compiled beside each other."""
    chunk = run.source.like_chunks(run.schedule.steps_per_call)
    samples = run.source.sample_shapes(run.schedule.sample_size)
    if chunk is None or samples is None:
        return
    steps(run, chunk, run.now.train, prepared=True)
    prepare_evaluation(run.now.train.average, run.loss, samples[1])
    if run.now.growing:
        growth.prepare(
            run.now.train.average, run.loss, run.score_metric, samples, run.proposer,
            run.policy, output_factors(run, stepped=True),
            run.optimizer.input_factor(run.now.train.optimizer),
        )  # fmt: skip


def prepare_successor(run: Run, chunk: Chunk) -> None:
    """Without hidden layers there is one way to grow: compile the steps after it, too."""
    network = run.now.train.network
    if run.now.step or network.graph.hidden or not run.now.growing:
        return
    for action in actions(run)[:1]:
        successor = grown(run, first_layer(network, run.policy, action))
        steps(run, chunk, successor, prepared=True)


def consider(run: Run) -> None:
    """Remove and add what the policy says."""
    with run.timed("growth"):
        decision = decide(run)
    added, looked = len(decision.accepted), bool(decision.verdicts)
    run.now.waits = 0 if added else run.now.waits + looked
    if added:
        layer = decision.accepted[0].action.inserts
        run.now.found = MANY if layer else added
    run.now.next_look = run.policy.next_look(run.now.step, run.now.found, run.now.waits)
    # A proposal that only τ refuses may pass later, as η_c falls: that is "not yet".
    refused = decision.exhausted and looked and not added
    run.now.refusals = run.now.refusals + 1 if refused else 0
    if over_budget(run):
        return
    full = not run.policy.actions(run.now.train.network)
    patience = run.policy.swap_patience if full else run.policy.patience
    if run.now.refusals >= patience or not actions(run, rested=True):
        end_growth(run)


def actions(run: Run, *, rested: bool = False):
    """How the network may grow now, or, if `rested`, once layers may be added again."""
    limit = run.policy.max_seconds
    if limit is not None and run.seconds() >= limit:
        return ()
    since = run.now.step - run.now.last_layer
    rested = rested or not run.now.last_layer or since >= run.policy.layer_every
    network = run.now.train.network
    return run.policy.actions(network, layers_allowed=rested) or run.policy.swaps(network)


def decide(run: Run) -> Decision:
    """Search, decide, and carry the decision out."""
    seen, judged_on = look(run)
    going, factors = leaving(run, seen)
    proposals = []
    full = "there is more than they allow" if over_budget(run) else "they are used up"
    decision = Decision((), f"no place to add within the budgets: {full}", True, going)
    for stage, worth in stages(run, going, float(seen.fit.reach)):
        found = propose_all(
            run.now.train.average, seen, run.proposer, run.policy, stage, run.draw_key()
        )
        proposals += [[replace(p, expected=worth) for p in place] for place in found]
        decision = run.policy.decide(proposals, run.now.train.network, going)
        if decision.accepted:
            break
    considerations = [
        _consideration(run.now.step, verdict, run.policy.worth(verdict.proposal))
        for verdict in decision.verdicts
    ]
    run.history.records.extend(considerations)
    run.tell("on_considerations", considerations, decision.reason)
    before = run.now.train.network
    if over_budget(run):  # what was best before is too large, and stays so for some looks
        run.now.best, run.now.stale = NONE_BEST, 0
    if decision.going is not None and decision.leaving:
        remove(run, decision.going, factors, judged_on)
    if decision.accepted:
        proposal = among(join(decision.accepted), before, run.now.train.network)
        add(run, proposal, decision.reason, judged_on)
    remove_empty(run, judged_on)
    if run.now.train.network.capacities != before.capacities:  # there will be other programs
        prepare(run)
    return decision


def stages(run: Run, going: Going, reach: float) -> Iterator[Expected]:
    """Where to search, one after another until something passes."""
    for stage in run.policy.stages(actions(run), run.now.waits):
        if run.policy.expect == "price":
            yield from by_price(stage, going, run.policy.alpha * reach)
        else:
            yield Expected(tuple(stage), None)


def add(run: Run, proposal: Proposal, reason: str, judged_on: Batch) -> None:
    """Grow the network and the optimiser's state, and say what it did to the loss."""
    old, new = run.now.train, grown(run, proposal)
    before = evaluate(old.average, run.loss, judged_on).loss
    addition = Addition(
        step=run.now.step,
        kind=proposal.action.kind,
        position=proposal.action.position,
        place=str(proposal.action),
        units=proposal.units,
        score=proposal.score,
        stderr=proposal.stderr,
        loss_before=before,
        loss_after=evaluate(new.average, run.loss, judged_on).loss,
        hidden_sizes=new.network.hidden_sizes,
        n_parameters=new.network.n_parameters,
        reason=reason,
        seconds=run.seconds(),
    )
    # Only now: an interruption finds the network as the ledger says it is.
    run.now.train = new
    if proposal.action.inserts:
        run.now.last_layer = run.now.step
    run.record("on_addition", addition)
    run.tell_of(new.average)


def grown(run: Run, proposal: Proposal) -> TrainState:
    """The networks and the optimiser's state with a proposal's units."""
    old, number = run.now.train, len(run.history.additions) + 1
    average, _ = growth.add(old.average, None, proposal, run.policy, number)
    network, optimizer = growth.add(old.network, old.optimizer, proposal, run.policy, number)
    optimizer = run.optimizer.grown(optimizer, network)
    return old._replace(network=network, optimizer=optimizer, average=average)


def _consideration(step: int, verdict: Verdict, worth: float) -> Consideration:
    proposal = verdict.proposal
    return Consideration(
        step=step,
        kind=proposal.action.kind,
        position=proposal.action.position,
        place=str(proposal.action),
        units=proposal.units,
        fit_score=proposal.fit_score,
        score=proposal.score,
        stderr=proposal.stderr,
        eta=proposal.eta,
        limit=proposal.limit,
        reach=proposal.reach,
        worth=worth,
        accepted=verdict.accepted,
        verdict=str(verdict.outcome),
        reason=verdict.reason,
    )
