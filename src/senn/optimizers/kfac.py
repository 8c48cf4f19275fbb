"""Natural gradient by Kronecker factors: the fast default (Martens and Grosse, 2015)."""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from senn.arrays import following, key_of, to_device
from senn.batches import Batch, InputMoment
from senn.curvature import Signals, propagate
from senn.factors import InputFactor
from senn.linalg import inverse, relative_ridge, running_mean, solve_small, tree_dot
from senn.losses import AbstractLoss, AbstractMetric
from senn.nn import MLP, Dense
from senn.nn.activation import AbstractActivation
from senn.nn.network import rebuild
from senn.optimizers.base import AbstractOptimizer, StepInfo, zeros, zeros_like


class Factors(NamedTuple):
    """Running second moments of one linear map, and of the θ that follow it."""

    A: Float[Array, "I I"] | None  # its inputs, those of the network aside; None if no others
    S: Float[Array, "O O"]  # metric draws at its outputs
    theta: Float[Array, "c 3 3"] | None  # exact blocks E[φφᵀ s²]; None without θ


class Inverse(NamedTuple):
    """(A + π√ε I)⁻¹ and (S + √ε/π I)⁻¹ for one part of a map's inputs."""

    A: Float[Array, "I I"] | Float[Array, ""]  # for the network's inputs the ridge π√ε instead
    S: Float[Array, "O O"]


class KFACState(NamedTuple):
    """All that a step remembers; only `velocity` has the network's shape and grows along."""

    velocity: MLP
    factors: tuple[Factors, ...]  # of every linear map
    inverses: tuple[tuple[Inverse, ...], ...]  # of every part of every map's inputs
    inputs: InputFactor
    examples: Float[Array, ""]  # in the data set, or seen so far of a stream
    age: Int[Array, ""]  # steps that the factors have averaged
    key: PRNGKeyArray


class KFAC(AbstractOptimizer):
    """θ ← θ − rate · v, v ← momentum · v + ν P g, P the damped inverse of the factored curvature.

    Every linear map has F ≈ A ⊗ S, A the second moment of its inputs (the constant included),
    S that of draws from the output metric back-propagated to its outputs; both are running
    means. F + εI is inverted as (A + π√ε I) ⊗ (S + √ε/π I) with π² the ratio of their mean
    diagonals. The three coefficients of every rational unit have their exact 3 × 3 block. ν ≤ 1
    shortens a step that would change the outputs by more than `kl_clip` in the metric (None takes
    that of the loss: 1e-4 for squared error, 0.01 for cross-entropies).

    The factor of the network's inputs is computed and factorised once for the data set
    (`InputFactor`); for a stream again whenever it has doubled. A map that reads the network's
    inputs beside hidden layers treats the two as independent.

    g holds the loss and a Gaussian prior: that of the starting scheme, weights N(0, 1/inputs),
    biases and θ N(0, 1), divided by the number of examples and tempered by `prior`. (None takes
    that of the loss: 1 for squared error, for which it is Bayes' rule if targets are
    standardised and mostly noise, and 0.1 for cross-entropies.) It is passed through P like the
    loss, so that directions in which the inputs hardly vary, which P amplifies, are kept from
    fitting noise. After growth, factors start anew from the next batch.

    The defaults were chosen on validation rows of MNIST and Fashion-MNIST (50 and 64 units), and
    on rows held out from the training rows of small tables.
    """

    watches_inputs: ClassVar[bool] = True
    unit_scale: ClassVar[float] = 0.3  # chosen on validation rows of MNIST

    learning_rate: float = 0.1
    damping: float = 0.02
    momentum: float = 0.9
    kl_clip: float | None = None
    prior: float | None = None
    decay: float = 0.95  # of the running means
    refresh: int = 5  # steps between inversions
    seed: int = 0  # of the metric draws

    def __check_init__(self):  # noqa: D105
        for name in ("learning_rate", "damping", "kl_clip"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0; got {value!r}.")
        for name in ("momentum", "decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1); got {getattr(self, name)!r}.")
        if self.prior is not None and not self.prior >= 0:
            raise ValueError(f"prior must be 0 or above; got {self.prior!r}.")
        if not self.refresh >= 1:
            raise ValueError(f"refresh must be at least 1; got {self.refresh!r}.")

    def init(self, network: MLP) -> KFACState:
        """No velocity, and factors that the first batch will fill."""
        dtype = network.readout.bias.dtype
        return KFACState(
            zeros_like(network),
            *_blank(network),
            InputFactor.identity(network.in_slots, dtype),
            to_device(1, dtype),
            to_device(0, jnp.int32),
            key_of(self.seed),
        )

    def observe(self, state: KFACState, moment: InputMoment) -> KFACState:
        """Take over the second moment of the network's inputs."""
        dtype, in_slots = state.examples.dtype, len(state.inputs.vectors) - 1
        return state._replace(
            inputs=InputFactor.of(moment, dtype, in_slots), examples=to_device(moment.rows, dtype)
        )

    def grown(self, state: KFACState, network: MLP) -> KFACState:
        """Let the next batch fill the factors of a network that has grown."""
        factors, inverses = _blank(network)
        inputs = state.inputs
        if len(inputs.vectors) != network.in_slots + 1:  # until they are seen again
            inputs = InputFactor.identity(network.in_slots, state.examples.dtype)
        return state._replace(
            factors=factors, inverses=inverses, inputs=inputs, age=to_device(0, jnp.int32)
        )

    def input_factor(self, state: KFACState) -> InputFactor:
        """Of the network's inputs."""
        return state.inputs

    def output_factors(
        self, state: KFACState, *, stepped: bool | None = None
    ) -> tuple[Float[Array, "_ _"], ...] | None:
        """S of every linear map, once there has been a step."""
        if stepped is None:
            stepped = int(state.age) > 0  # as a number: to compare arrays would compile a program
        return tuple(f.S for f in state.factors) if stepped else None

    def step(
        self,
        network: MLP,
        state: KFACState,
        loss: AbstractLoss,
        metric: AbstractMetric,
        batch: Batch,
        scale: Float[Array, ""],
    ) -> tuple[MLP, KFACState, StepInfo]:
        """One step on one batch; `scale` multiplies the learning rate."""
        seen = propagate(network, loss, metric, batch, state.key)
        new = second_moments(network, seen, batch.weight)
        factors = running_mean(state.factors, new, self.decay, state.age)
        kept = (state.age >= self.refresh) & (state.age % self.refresh != 0)
        inverses = jax.lax.cond(
            kept,
            lambda: state.inverses,
            lambda: invert(network, factors, state.inputs, self.damping),
        )
        prior = loss.prior if self.prior is None else self.prior
        g = _with_prior(network, seen.gradient, prior / state.examples)
        direction = precondition(g, factors, inverses, state.inputs, self.damping)
        eta, rate = tree_dot(g, direction), scale * self.learning_rate
        most = loss.kl_clip if self.kl_clip is None else self.kl_clip
        clip = jnp.sqrt(most / jnp.maximum(rate**2 * eta, most))
        velocity = jax.tree.map(
            lambda v, d: self.momentum * v + clip * d, state.velocity, direction
        )
        updates = jax.tree.map(lambda v: -rate * v, velocity)
        after = state._replace(
            velocity=velocity, factors=factors, inverses=inverses, age=state.age + 1,
            key=following(state.key),
        )  # fmt: skip
        info = StepInfo(seen.loss, eta, jnp.array(0), jnp.zeros_like(seen.loss))
        return eqx.apply_updates(network, updates), after, info


def second_moments(network: MLP, seen: Signals, weight: Float[Array, " N"]) -> tuple[Factors, ...]:
    """The factors of every linear map on one batch."""
    n = weight.shape[0]

    def of(m: int) -> Factors:
        blocks = _hidden_blocks(network, m, seen.inputs[m])
        A = None
        if blocks:
            constant = () if 0 in network.sources[m] else (jnp.ones((n, 1), weight.dtype),)
            a = jnp.concatenate([*blocks, *constant], axis=1)
            A = (weight[:, None] * a).T @ a / n
        s = seen.draws.maps[m]
        S = (weight[:, None] * s).T @ s / n
        theta = None
        if m < len(network.hidden) and network.activation.learned:
            square = weight[:, None] * seen.draws.activations[m] ** 2 / n
            theta = _theta_blocks(network.activation.features(seen.z[m]), square)
        return Factors(A, S, theta)

    return tuple(of(m) for m in range(network.n_maps))


def _theta_blocks(phi: Float[Array, "F N c"], square: Float[Array, "N c"]) -> Float[Array, "c F F"]:
    """Σ φφᵀ s² of every unit; as sums down columns, five times as fast as one `einsum`."""
    F = range(len(phi))
    sums = {(f, g): jnp.sum(phi[f] * phi[g] * square, axis=0) for f in F for g in range(f + 1)}
    rows = [[sums[max(f, g), min(f, g)] for g in F] for f in F]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def invert(
    network: MLP, factors: tuple[Factors, ...], inputs: InputFactor, damping: float
) -> tuple[tuple[Inverse, ...], ...]:
    """Damped inverses for the parts of every map's inputs: the network's, and hidden layers'."""
    root = jnp.sqrt(jnp.asarray(damping, inputs.mean.dtype))

    def of(m: int, f: Factors) -> tuple[Inverse, ...]:
        parts = []
        mean_S = relative_ridge(f.S, 1.0)
        if 0 in network.sources[m]:
            ridge = root * jnp.sqrt(inputs.mean / mean_S)
            parts.append(Inverse(ridge, inverse(f.S, damping / ridge)))
        if f.A is not None:
            ridge = root * jnp.sqrt(relative_ridge(f.A, 1.0) / mean_S)
            parts.append(Inverse(inverse(f.A, ridge), inverse(f.S, damping / ridge)))
        return tuple(parts)

    return tuple(of(m, f) for m, f in enumerate(factors))


def precondition(
    g: MLP,
    factors: tuple[Factors, ...],
    inverses: tuple[tuple[Inverse, ...], ...],
    inputs: InputFactor,
    damping: float,
) -> MLP:
    """P g, a tree like the network's parameters."""

    def dense(position: int, d: Dense) -> Dense:
        parts, blocks, bias = list(inverses[position]), list(d.weights), d.bias[None]
        done = []
        if 0 in g.sources[position]:
            part = parts.pop(0)
            solved = inputs.solve(part.A, jnp.concatenate([blocks.pop(0), bias])) @ part.S
            done, bias = [solved[:-1]], solved[-1:]
        if parts:  # hidden layers, with the constant unless the inputs have it
            rows = [*blocks, bias][: None if not done else -1]
            solved = parts[0].A @ jnp.concatenate(rows) @ parts[0].S
            ends = np.cumsum([len(r) for r in rows])[:-1]
            pieces = jnp.split(solved, ends)
            done, bias = [*done, *pieces[: len(blocks)]], (bias if done else pieces[-1])
        return Dense(tuple(done), bias[0])

    def sigma(f: Factors, s: AbstractActivation) -> AbstractActivation:
        if f.theta is None or s.theta is None:
            return s
        damped = f.theta + damping * jnp.eye(f.theta.shape[-1], dtype=f.theta.dtype)
        return s.of(solve_small(damped, s.theta))

    maps = [dense(m, d) for m, d in enumerate(g.maps)]
    sigmas = [sigma(f, h.activation) for f, h in zip(factors, g.hidden, strict=False)]
    return rebuild(g, maps, sigmas)


def _with_prior(network: MLP, g: MLP, strength: Float[Array, ""]) -> MLP:
    """The gradient of the loss and of the prior, per example."""

    def dense(position: int, g: Dense, p: Dense) -> Dense:
        n = jnp.sum(network.active_inputs(position))
        return Dense(
            tuple(v + strength * n * w for v, w in zip(g.weights, p.weights, strict=True)),
            g.bias + strength * p.bias,
        )

    def sigma(g: AbstractActivation, p: AbstractActivation) -> AbstractActivation:
        return jax.tree.map(lambda v, t: v + strength * t, g, p)

    maps = [dense(m, *pair) for m, pair in enumerate(zip(g.maps, network.maps, strict=True))]
    pairs = zip(g.hidden, network.hidden, strict=True)
    return rebuild(g, maps, [sigma(v.activation, p.activation) for v, p in pairs])


def _hidden_blocks(network: MLP, position: int, blocks):
    """What a map reads of hidden layers."""
    return blocks[1:] if 0 in network.sources[position] else blocks


def _blank(network: MLP):
    """Factors and inverses of the right shapes, all zero."""

    def factors(m: int) -> Factors:
        dense, dtype = network.maps[m], network.readout.bias.dtype
        capacities = [network.hidden[node - 1].capacity for node in network.sources[m] if node]
        n_A = sum(capacities) + (0 not in network.sources[m])
        n_S = dense.bias.shape[0]
        learned = network.activation.learned if m < len(network.hidden) else 0
        return Factors(
            zeros((n_A, n_A), dtype) if capacities else None,
            zeros((n_S, n_S), dtype),
            zeros((n_S, learned, learned), dtype) if learned else None,
        )

    def inverses(m: int, f: Factors) -> tuple[Inverse, ...]:
        of_inputs = (zeros((), f.S.dtype),) if 0 in network.sources[m] else ()
        return tuple(Inverse(A, f.S) for A in (*of_inputs, f.A) if A is not None)

    blank = tuple(factors(m) for m in range(network.n_maps))
    return blank, tuple(inverses(m, f) for m, f in enumerate(blank))
