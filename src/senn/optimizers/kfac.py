"""Natural gradient by Kronecker factors: the fast default (Martens and Grosse, 2015)."""

from typing import Any, ClassVar, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from senn.arrays import following, key_of, to_device, zeros, zeros_like
from senn.batches import Batch, InputMoment
from senn.curvature import through
from senn.devices import split
from senn.factors import InputFactor
from senn.linalg import inverse, relative_ridge, running_mean, solve_small, tree_dot
from senn.losses import AbstractLoss, AbstractMetric
from senn.nn.sites import AbstractSite, UnitwiseSite
from senn.nn.tapped import AbstractTapped
from senn.optimizers.base import AbstractOptimizer, StepInfo
from senn.optimizers.kfac_factors import (
    Block,
    Factors,
    Sites,
    factors_on,
    others_of,
    reads_inputs,
    seen_on,
)
from senn.optimizers.priors import Scalar, Seen, is_zero, put, with_noise, with_prior

Tree = TypeVar("Tree")
NUMBERS = (
    "learning_rate", "damping", "momentum", "kl_clip", "prior", "tails", "noise", "decay"
)  # fmt: skip
CLIPPED_AT_PLACES = 0.3  # of `kl_clip`; docs/design/positions.md has it beside others


class Inverse(NamedTuple):
    """(A + π√ε I)⁻¹ and (S + √ε/π I)⁻¹ for one part of a map's inputs."""

    A: Float[Array, "I I"] | Float[Array, ""]  # for the network's inputs the ridge π√ε instead
    S: Float[Array, "O O"]


class KFACState(NamedTuple):
    """All that a step remembers; only `velocity` has the network's shape and grows along."""

    velocity: AbstractTapped
    factors: tuple[Factors | Block, ...]  # of every site
    inverses: tuple[tuple[Inverse, ...], ...]  # of every part of every site's inputs
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
    fitting noise. With `tails` κ > 0 weights that read the same share a Student's t of 1/κ degrees
    of freedom in place of it: what says little is kept out, and what says much pays little.
    `noise` is the variance of noise of mean 1 by which all that maps read is multiplied, to second
    order, without drawing any: as dropout at a rate of noise/(1 + noise) does (Wager, Wang and
    Liang, 2013). After growth, factors start anew from the next batch.

    Of a network with maps that are applied at several positions, the factors come from some
    `examples` of every few steps (`every`), which cost little beside the step. Positions are taken
    for independent, which they are not, so that outputs change by more than is counted: the clip
    is 0.3 of `kl_clip` there, and goes by the rate as it is before annealing.

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
    tails: float = 0.0
    noise: float = 0.0
    decay: float = 0.95  # of the running means
    refresh: int = 5  # steps between inversions
    examples: int = 32  # of maps with positions: of a batch, for the factors
    every: int = 4  # and steps between those; inversions come half as often
    seed: int = 0  # of the metric draws

    def __check_init__(self):  # noqa: D105
        for name in ("learning_rate", "damping", "kl_clip"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0; got {value!r}.")
        for name in ("momentum", "decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1); got {getattr(self, name)!r}.")
        for name in ("prior", "tails", "noise"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must be 0 or above; got {value!r}.")
        for name in ("refresh", "examples", "every"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)!r}.")

    def init(self, network: AbstractTapped) -> KFACState:
        """No velocity, and factors that the first batch will fill."""
        dtype = network.dtype
        return KFACState(
            zeros_like(eqx.filter(network, eqx.is_inexact_array)),
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

    def grown(self, state: KFACState, network: AbstractTapped) -> KFACState:
        """Let the next batch fill the factors of a network that has grown."""
        factors, inverses = _blank(network)
        inputs = state.inputs
        if len(inputs.vectors) != network.in_slots + 1:  # until they are seen again
            inputs = InputFactor.identity(network.in_slots, state.examples.dtype)
        return state._replace(
            factors=factors, inverses=inverses, inputs=inputs, age=to_device(0, jnp.int32)
        )

    def reread(
        self,
        state: KFACState,
        network: AbstractTapped,  # noqa: ARG002
        stretch: np.ndarray,  # noqa: ARG002
        shift: np.ndarray,  # noqa: ARG002
    ) -> KFACState:
        """No velocity, which came from steps by a poorer scale; factors are of what stays.

        That of the inputs aside, which is to be observed again.
        """
        return state._replace(velocity=zeros_like(state.velocity))

    def input_factor(self, state: KFACState) -> InputFactor:
        """Of the network's inputs."""
        return state.inputs

    def output_factors(
        self, state: KFACState, *, stepped: bool | None = None
    ) -> tuple[Float[Array, "_ _"], ...] | None:
        """S of every linear map, once there has been a step."""
        if stepped is None:
            stepped = int(state.age) > 0  # as a number: to compare arrays would compile a program
        return tuple(f.S for f in state.factors if isinstance(f, Factors)) if stepped else None

    def as_arguments(self, loss: AbstractLoss, dtype: Any) -> "KFAC":
        """All real numbers but zeros as arrays, those of the loss where it is to say."""
        names = [name for name in NUMBERS if not is_zero(getattr(self, name))]
        return self.having({name: self._number(name, loss) for name in names}, dtype)

    def having(self, numbers: dict[str, Any], dtype: Any) -> "KFAC":
        """The rule with these numbers as arrays: rules of other ones share what is compiled."""
        return eqx.tree_at(
            lambda rule: [getattr(rule, name) for name in numbers],
            self,
            [np.asarray(number, dtype) for number in numbers.values()],
            is_leaf=lambda leaf: leaf is None,
        )

    def _number(self, name: str, loss: AbstractLoss) -> Any:
        given = getattr(self, name)
        return getattr(loss, name) if given is None else given

    def step(
        self,
        network: AbstractTapped,
        state: KFACState,
        loss: AbstractLoss,
        metric: AbstractMetric,
        batch: Batch,
        scale: Float[Array, ""],
    ) -> tuple[AbstractTapped, KFACState, StepInfo]:
        """One step on one batch; `scale` multiplies the learning rate."""
        sites, at_places = network.graph.sites, network.has_positions
        if at_places:
            g, factors, value = self._seen_at_places(network, loss, metric, batch, state)
        else:
            g, new, value = seen_on(network, loss, metric, batch, state)
            factors = running_mean(state.factors, new, self.decay, state.age)
        refresh = 2 * self.every if at_places else self.refresh
        kept = (state.age >= refresh) & (state.age % refresh != 0)
        inverses = jax.lax.cond(
            kept,
            lambda: state.inverses,
            lambda: invert(sites, factors, state.inputs, self.damping),
        )
        strength = self._number("prior", loss) / state.examples
        g = with_prior(network, g, strength, self.tails)
        if not is_zero(self.noise):
            seen = diagonals(sites, network, factors, state.inputs)
            g = with_noise(network, g, seen, self.noise)
        direction = precondition(sites, g, factors, inverses, state.inputs, self.damping)
        eta, rate = tree_dot(g, direction), scale * self.learning_rate
        most, clipped = self._number("kl_clip", loss), rate
        if at_places:
            # By `rate` an annealed one would shorten no step before it is below what this leaves.
            most, clipped = most * CLIPPED_AT_PLACES, self.learning_rate
        clip = jnp.sqrt(most / jnp.maximum(clipped**2 * eta, most))
        velocity = jax.tree.map(
            lambda v, d: self.momentum * v + clip * d, state.velocity, direction
        )
        updates = jax.tree.map(lambda v: -rate * v, velocity)
        after = state._replace(
            velocity=velocity, factors=factors, inverses=inverses, age=state.age + 1,
            key=following(state.key),
        )  # fmt: skip
        info = StepInfo(value, eta, jnp.array(0), jnp.zeros_like(value))
        return eqx.apply_updates(network, updates), after, info

    def _seen_at_places(
        self,
        network: AbstractTapped,
        loss: AbstractLoss,
        metric: AbstractMetric,
        batch: Batch,
        state: KFACState,
    ) -> tuple[Any, tuple[Factors | Block, ...], Float[Array, ""]]:
        """The gradient, the factors as they are now, and the loss."""
        seen = through(network, loss, metric, batch)
        g_y = seen.loss.gradient(seen.outputs, batch.y)
        g = seen.back(g_y * batch.weight[:, None] / len(batch.weight))[0]
        value = jnp.mean(batch.weight * seen.loss(seen.outputs, batch.y))
        factors = jax.lax.cond(
            state.age % self.every == 0,
            lambda: running_mean(
                state.factors,
                factors_on(network, loss, metric, batch[: self.examples], state.key),
                self.decay,
                state.age // self.every,
            ),
            lambda: state.factors,
        )
        return g, factors, value


def invert(
    sites: Sites, factors: tuple[Factors | Block, ...], inputs: InputFactor, damping: Scalar
) -> tuple[tuple[Inverse, ...], ...]:
    """Damped inverses for the parts of every map's inputs: the network's, and all others."""
    root = jnp.sqrt(jnp.asarray(damping, inputs.mean.dtype))

    def of(site: AbstractSite, f: Factors | Block) -> tuple[Inverse, ...]:
        if isinstance(f, Block):
            return ()
        parts, mean_S = [], relative_ridge(f.S, 1.0)
        if reads_inputs(site):
            ridge = root * jnp.sqrt(inputs.mean / mean_S)
            parts.append(Inverse(ridge, inverse(f.S, damping / ridge)))
        if f.A is not None:
            ridge = root * jnp.sqrt(relative_ridge(f.A, 1.0) / mean_S)
            parts.append(Inverse(inverse(f.A, ridge), inverse(f.S, damping / ridge)))
        return tuple(parts)

    return tuple(map(of, sites, factors))


def precondition(
    sites: Sites,
    g: Tree,
    factors: tuple[Factors | Block, ...],
    inverses: tuple[tuple[Inverse, ...], ...],
    inputs: InputFactor,
    damping: Scalar,
) -> Tree:
    """P g, a tree like the network's parameters."""

    def of(site: AbstractSite, f: Factors | Block, parts: tuple[Inverse, ...]) -> Array:
        G = site.matrix(g)
        if isinstance(f, Block):
            damped = f.block + damping * jnp.eye(f.block.shape[-1], dtype=f.block.dtype)
            return solve_small(damped, G)
        if not reads_inputs(site):
            return parts[0].A @ split(G, 1) @ parts[0].S
        others = others_of(site, g)
        first, rest = parts[0], parts[1:]
        own = jnp.concatenate([G[: others.start], G[others.stop :]])
        solved = inputs.solve(first.A, split(own, 1)) @ first.S
        beside = [part.A @ split(G[others], 1) @ part.S for part in rest]
        return jnp.concatenate([solved[:-1], *beside, solved[-1:]])

    return put(g, sites, map(of, sites, factors, inverses))


def diagonals(
    sites: Sites, network: AbstractTapped, factors: tuple[Factors | Block, ...], inputs: InputFactor
) -> tuple[Seen, ...]:
    """What the second moment of every linear map's inputs has on its diagonal, 0 for constants."""

    def of(site: AbstractSite, f: Factors | Block) -> Seen:
        if isinstance(f, Block):
            return None
        rest = jnp.zeros(0, f.S.dtype) if f.A is None else jnp.diagonal(f.A)
        if reads_inputs(site):
            parts = [inputs.diagonal[:-1], rest, jnp.zeros(1, f.S.dtype)]
            return jnp.concatenate(parts), f.S
        constant = jnp.arange(len(rest)) >= site.shape(network)[0] - _constants(site)
        return jnp.where(constant, 0, rest), f.S

    return tuple(map(of, sites, factors))


def _constants(site: AbstractSite) -> int:
    """How many of the rows that a map reads are its constant."""
    return int(getattr(site, "bias", None) is not None)


def _blank(network: AbstractTapped):
    """Factors and inverses of the right shapes, all zero."""

    def factors(site: AbstractSite) -> Factors | Block:
        rows, columns = site.shape(network)
        if isinstance(site, UnitwiseSite):
            return Block(zeros((columns, rows, rows), network.dtype))
        n = len(range(rows)[others_of(site, network)])
        A = zeros((n, n), network.dtype) if n else None
        return Factors(A, zeros((columns, columns), network.dtype))

    def inverses(site: AbstractSite, f: Factors | Block) -> tuple[Inverse, ...]:
        if isinstance(f, Block):
            return ()
        of_inputs = (zeros((), f.S.dtype),) if reads_inputs(site) else ()
        return tuple(Inverse(A, f.S) for A in (*of_inputs, f.A) if A is not None)

    sites = network.graph.sites
    blank = tuple(map(factors, sites))
    return blank, tuple(map(inverses, sites, blank))
