"""`senn.fit`: from what a user gives to a run."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from senn import devices, shapes
from senn.augmentation import augmentation_of
from senn.batches import (
    FEWEST_IN_BLOCKS,
    FEWEST_IN_SAMPLE,
    ArraySource,
    Batch,
    PassSource,
    Room,
    StreamSource,
    checked,
    make_source,
)
from senn.callbacks.base import Callback
from senn.expand import with_slots
from senn.history import History
from senn.losses import (
    LOSSES,
    AbstractLoss,
    AbstractMetric,
    SoftmaxCrossEntropy,
    SquaredError,
    make_loss,
    make_metric,
    takes_spares,
)
from senn.nn.edits import from_the_start
from senn.nn.tapped import AbstractLayered, AbstractTapped
from senn.optimizers import AbstractOptimizer, make_optimizer
from senn.policy import Policy
from senn.processes import told
from senn.proposals import AbstractProposer, Projection
from senn.readers import DataError
from senn.training.loop import run_through
from senn.training.run import Run
from senn.training.schedule import Schedule
from senn.training.state import ResumeError, RunState, TrainState, described

Net = TypeVar("Net", bound=AbstractTapped)

MOST_IN_BLOCKS = 1024  # inputs of samples with room for many rows, lest they take much memory


def fit(
    network: Net,
    data: Any,
    *,
    validation: Any = None,
    loss: str | AbstractLoss | None = None,
    metric: str | AbstractMetric | None = None,
    optimizer: str | AbstractOptimizer | optax.GradientTransformation = "kfac",
    proposer: AbstractProposer | None = None,
    policy: Policy | None = None,
    schedule: Schedule | None = None,
    callbacks: Sequence[Callback] = (),
    seed: int = 0,
    in_slots: int = 0,
    augment: Any = None,
    resume: RunState | None = None,
    mesh: Mesh | None = None,
) -> tuple[Net, History]:
    """Train a network and let it grow.

    Args:
        network: where to start; it is not changed.
        data: (x [N, …, I], y) or (x, y, weight) arrays, or any iterable of such batches. One that
            can be iterated more than once is, epoch after epoch; an iterator is used up.
        validation: (x, y) or (x, y, weight), for the ledger and for early stopping. With it the
            network of the best evaluation is returned, else the last.
        loss: "softmax_cross_entropy", "binary_cross_entropy", "squared_error" or a
            `senn.losses` object; None takes the first for class codes (integers) and the last
            for numbers.
        metric: output metric M of the optimiser, "fisher" or "euclidean" (the paper's); None is
            "euclidean" for `NaturalGradient`, else "fisher". That of the score is the policy's.
        optimizer: "kfac", "natural_gradient" (the paper's), "warm_natural_gradient", "adam", a
            `senn.optimizers` object or any optax transformation.
        proposer: the search for new units; None is `Projection()`.
        policy: when and where to grow; None is `Policy()`.
        schedule: how long to train; None is `Schedule()`, which anneals the learning rate once
            growth has ended, and stops.
        callbacks: told what happens.
        seed: of the order of the data and of the search.
        in_slots: set aside room for so many inputs at least, so that networks of fewer share what
            is compiled with those of more.
        augment: how images in arrays [N, H, W, C] are changed at random for every step: "flip",
            "shift" (by an eighth of height and width at most), "shift=2" (pixels), "flip,shift",
            or a function of such images and a NumPy generator. Growth and validation see them as
            they are.
        resume: the state of an earlier run to go on from, which is taken over and changed;
            `network` and `seed` are not used then. With the same settings and the same data the
            run ends as it would have ended undisturbed. Other data are refused, unless the
            state's `fingerprint` and `position` are None.
        mesh: devices that share the examples of every batch, sample and evaluation, as
            `jax.make_mesh` has them, or `senn.devices.mesh_of` the first few; decisions are those
            of one device, to rounding. None is one device.

    Returns:
        The trained network and the ledger. Ctrl-C ends training and returns the network as it
        is, with `history.stop_reason` "interrupted".
    """
    with devices.using(mesh):
        schedule, policy = schedule or Schedule(), policy or Policy()
        network = network if resume is None else resume.train.network  # pyright: ignore[reportAssignmentType]
        if policy.square_layers and isinstance(network, AbstractLayered):
            policy.check_activation(network.activation)
        rng, rule = np.random.default_rng(seed), make_optimizer(optimizer)
        if policy.unit_scale is None:
            policy = replace(policy, unit_scale=rule.unit_scale)
        source = make_source(
            data, schedule.batch_size, 2 * schedule.sample_size, rng, schedule.max_epochs,
            watch_inputs=rule.watches_inputs, augment=augmentation_of(augment),
        )  # fmt: skip
        del data  # the source has a copy of its own
        loss = _default_loss(source) if loss is None else make_loss(loss)
        settings = {
            "loss": loss,
            "metric": make_metric(rule.metric if metric is None else metric, loss),
            "optimizer": rule,
            "proposer": proposer or Projection(),
            "policy": policy,
            "schedule": schedule,
        }
        held_out = _held_out(validation, source, loss, network)
        source.room = room = _room(network, settings, in_slots)
        network = with_slots(network, room.inputs, room.outputs)
        state = resume or first_state(network, rule, policy, schedule, seed)
        state.train = _with_room(state, rule, room)
        state.settings = _settings_described(**settings, augment=augment)
        _begin(state, source, held_out)
        run = Run(source, held_out, callbacks=tuple(callbacks), now=state, **settings)
        network, history = run_through(run)
        state.train, state.best = devices.home((state.train, state.best))
        return devices.home(network), history


def _held_out(
    validation: Any,
    source: ArraySource | StreamSource | PassSource,
    loss: AbstractLoss,
    network: AbstractTapped,
) -> Batch | None:
    """The validation data, once all targets are such as the loss takes."""
    held_out = None if validation is None else checked(Batch.on_host(*validation))
    for targets in (source.targets, None if held_out is None else held_out.y):
        if targets is not None:
            loss.check(targets, network.out_size)
    return held_out


def _settings_described(augment: Any, **settings: Any) -> dict[str, Any]:
    """What a run keeps of its settings, for the record."""
    given = settings if augment is None else {**settings, "augment": augment}
    return {name: described(value) for name, value in given.items()}


def _room(network: AbstractTapped, settings: dict[str, Any], in_slots: int) -> Room:
    """The slots of inputs and outputs that networks of this size are trained with."""
    if network.has_positions and devices.count() > 1:
        raise ValueError(
            f"{devices.count()} devices share rows of networks whose maps are applied once to an "
            "example; this one has others, such as convolutions: train it on one (mesh=None)."
        )
    loss, metric = settings["loss"], settings["metric"]
    of_score = make_metric(settings["policy"].metric or metric, loss)
    spares = takes_spares(loss, metric) and takes_spares(loss, of_score)
    spares = spares and not network.graph.outputs.rigid
    outputs = shapes.out_slots(network.out_size) if spares else network.out_size
    inputs = network.graph.inputs
    spare = len(inputs) == 1 and not inputs[0].rigid and not network.grid
    n_inputs = shapes.in_slots(max(network.in_size, in_slots)) if spare else network.in_slots
    square = settings["policy"].square_layers
    in_blocks = settings["proposer"].in_blocks and not square and n_inputs <= MOST_IN_BLOCKS
    sample = FEWEST_IN_BLOCKS if in_blocks else FEWEST_IN_SAMPLE
    sites = network.graph.maps if network.has_positions else ()
    numbers = sum(site.positions * sum(site.shape(network)) for site in sites)
    sizes = network.in_size, network.out_size
    return Room(n_inputs, outputs, loss, *sizes, sample, network.grid, numbers)


def _with_room(state: RunState, optimizer: AbstractOptimizer, room: Room) -> TrainState:
    """The state of training with just those slots; what depends on them is to be seen anew."""
    train = state.train
    if (train.network.in_slots, train.network.out_slots) == (room.inputs, room.outputs):
        return train
    network, average, kept = with_slots(
        (train.network, train.average, train.optimizer), room.inputs, room.outputs
    )
    state.observed = 0
    return train._replace(
        network=network, average=average, optimizer=optimizer.grown(kept, network)
    )


def first_state(
    network: AbstractTapped,
    optimizer: AbstractOptimizer,
    policy: Policy,
    schedule: Schedule,
    seed: int,
) -> RunState:
    """The state of a run before its first step.

    Whoever gives it to `senn.fit(..., resume=state)`, which changes it in place, has the state
    at the end too, and can go on from there, with other data if they are streams.
    """
    rng = np.random.default_rng(seed)
    return RunState(
        train=TrainState.of(from_the_start(network), optimizer, schedule.averaging),
        rng=rng.spawn(1)[0],  # of its own: growth leaves the order of the data as it is
        next_look=policy.next_look(0, policy.most_units(), 0),
        growing=policy.width or policy.depth or policy.over_budget(network, network.hidden_sizes),
    )


def _begin(
    state: RunState, source: ArraySource | StreamSource | PassSource, held_out: Batch | None
) -> None:
    """Stand where the state says in the data, if they are those that it says."""
    found = source.fingerprint(*([] if held_out is None else [held_out]))
    if told(found) != found:
        raise DataError(
            "This process does not have the rows that process 0 has: give all of them the same "
            "data, in the same order."
        )
    if state.fingerprint not in (None, found):
        raise ResumeError(
            "The data are not those of the run to be resumed: give the same rows in the same "
            "order, or start anew."
        )
    state.fingerprint = found
    state.history.stop_reason = state.history.ended_by = ""
    if state.position is not None:
        source.position = state.position


def _default_loss(source: ArraySource | StreamSource | PassSource) -> AbstractLoss:
    if source.targets is None:
        raise ValueError(
            f"A stream does not tell its task; pass loss=, one of {', '.join(LOSSES)}."
        )
    return (
        SoftmaxCrossEntropy()
        if jnp.issubdtype(source.targets.dtype, jnp.integer)
        else SquaredError()
    )
