"""Losses, and the metrics that they induce on a network's outputs.

A loss is a function of one example's outputs and target. A metric M [O, O] says how long a
change of those outputs is; it shapes the Gauss–Newton matrix E[JᵀMJ] and with it the natural
gradient and the expansion score. `Euclidean` is the paper's (M = I, section 3.3); `Fisher` is
the Fisher information of the loss read as a negative log-likelihood.
"""

from abc import abstractmethod
from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

Outputs = Float[Array, "*n O"]

NEVER = -1e30  # a logit whose probability is 0 exactly, and finite, so that 0 × it is 0
WORD = 32  # signs drawn at once


class AbstractLoss(eqx.Module):
    """A loss per example; also knows the Fisher metric of its likelihood."""

    # How much of a Gaussian prior goes with the loss read as a likelihood, if nobody says
    # (`KFAC.prior`). Labels are seldom wrong, and then less of it generalises better.
    prior: ClassVar[float] = 0.1
    # How far a step may move the outputs, likewise (`KFAC.kl_clip`). Numbers are mostly noise more
    # often than labels are, and long steps follow it.
    kl_clip: ClassVar[float] = 0.01
    # What the loss takes a spare output for, so that it adds nothing; None if no number does that,
    # and then outputs have no spare slots.
    spare: ClassVar[float | None] = None

    @abstractmethod
    def __call__(self, outputs: Outputs, targets: Shaped[Array, "..."]) -> Float[Array, "*n"]:
        """Loss of each example, in nats or halved squared units."""

    @abstractmethod
    def fisher_root(self, outputs: Outputs, u: Outputs) -> Outputs:
        """R u, linear in u, for a root R of the Fisher metric, R Rᵀ = M."""

    @abstractmethod
    def fisher_solve(self, outputs: Outputs, v: Outputs) -> Outputs:
        """M⁺v for v in the range of the Fisher metric M, where loss gradients lie."""

    def check(self, targets: Shaped[Array | np.ndarray, "..."], out_size: int) -> None:
        """Raise a `ValueError` for targets that this loss of `out_size` outputs cannot take."""

    def spread(self, targets: np.ndarray, out_size: int, out_slots: int) -> np.ndarray:
        """Targets of so many outputs, the spare ones with targets of their own; on the host."""
        if self.spare is None or targets.shape[1:] == (out_slots,):
            return targets
        _check_numbers(targets, out_size)
        numbers = targets.reshape(len(targets), -1)
        return np.pad(numbers, ((0, 0), (0, out_slots - numbers.shape[1])))

    def gradient(self, outputs: Outputs, targets: Shaped[Array, "..."]) -> Outputs:
        """g_y, the derivative of each example's loss with respect to its outputs."""
        return jax.grad(lambda y: jnp.sum(self(y, targets)))(outputs)


class SoftmaxCrossEntropy(AbstractLoss):
    """−Σ_k t_k ln p_k of the softmax p of the outputs; targets are class codes [N] of integers.

    Args:
        smoothing: ε ≥ 0, below 1: t is 1 − ε + ε/K for the class itself and ε/K for each of the
            K − 1 others (Szegedy et al., 2016). The outputs of least loss then have p = (1 − ε) P
            + ε/K for classes of probabilities P.

    Fisher metric: diag(p) − ppᵀ, whatever t is.
    """

    smoothing: float = eqx.field(default=0.0, static=True)

    spare: ClassVar[float | None] = NEVER

    def __check_init__(self):  # noqa: D105
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing must be in [0, 1); got {self.smoothing!r}.")

    def spread(self, targets: np.ndarray, out_size: int, out_slots: int) -> np.ndarray:  # noqa: ARG002
        """The class codes themselves."""
        return targets

    def check(self, targets: Shaped[Array | np.ndarray, "..."], out_size: int) -> None:
        """Raise a `ValueError` unless targets are class codes 0 to `out_size` − 1."""
        if not jnp.issubdtype(targets.dtype, jnp.integer) or targets.ndim != 1:
            raise ValueError(
                f"Softmax cross-entropy needs class codes [N] of an integer type; "
                f"got {targets.dtype} of shape {targets.shape}."
            )
        low, high = int(np.min(targets)), int(np.max(targets))
        if low < 0 or high >= out_size:
            raise ValueError(
                f"Class codes must be 0 to {out_size - 1}, for the network has {out_size} "
                f"outputs; got {low} to {high}."
            )

    def __call__(self, outputs: Outputs, targets: Shaped[Array, "..."]) -> Float[Array, "*n"]:
        """Loss of each example, in nats."""
        # By a mask: a gather, and the scatter of its gradient, are slow to compile and to run.
        own = targets[..., None] == jnp.arange(outputs.shape[-1], dtype=targets.dtype)
        log_p = jax.nn.log_softmax(outputs)
        if not self.smoothing:
            return -jnp.sum(jnp.where(own, log_p, 0), axis=-1)
        return -jnp.sum(jnp.where(_alive(outputs), self._smooth(outputs, own) * log_p, 0), axis=-1)

    def gradient(self, outputs: Outputs, targets: Shaped[Array, "..."]) -> Outputs:
        """p − t."""
        own = targets[..., None] == jnp.arange(outputs.shape[-1], dtype=targets.dtype)
        return jax.nn.softmax(outputs) - (self._smooth(outputs, own) if self.smoothing else own)

    def _smooth(self, outputs: Outputs, own: Bool[Array, "*n O"]) -> Outputs:
        """t, 0 for spare outputs."""
        alive = _alive(outputs)
        each = self.smoothing / jnp.sum(alive, axis=-1, keepdims=True)
        return jnp.where(alive, (1 - self.smoothing) * own + each, 0)

    def fisher_root(self, outputs: Outputs, u: Outputs) -> Outputs:
        """(diag(√p) − p√pᵀ) u."""
        p = jax.nn.softmax(outputs)
        v = jnp.sqrt(p) * u
        return v - p * jnp.sum(v, axis=-1, keepdims=True)

    def fisher_solve(self, outputs: Outputs, v: Outputs) -> Outputs:
        """v / p, up to a multiple of the ones that M and the sum-free v annul."""
        return v / _positive(jax.nn.softmax(outputs))


class BinaryCrossEntropy(AbstractLoss):
    """Σ over outputs of −ln p(target) with p = sigmoid; targets [N, O] or [N], each 0 or 1.

    Fisher metric: diag(p(1 − p)).
    """

    spare: ClassVar[float | None] = NEVER

    def check(self, targets: Shaped[Array | np.ndarray, "..."], out_size: int) -> None:
        """Raise a `ValueError` unless there is a target for every output."""
        _check_numbers(targets, out_size)

    def __call__(self, outputs: Outputs, targets: Shaped[Array, "..."]) -> Float[Array, "*n"]:
        """Loss of each example, in nats."""
        targets = _like(targets, outputs)
        return jnp.sum(jax.nn.softplus(outputs) - targets * outputs, axis=-1)

    def gradient(self, outputs: Outputs, targets: Shaped[Array, "..."]) -> Outputs:
        """p − target."""
        return jax.nn.sigmoid(outputs) - _like(targets, outputs)

    def fisher_root(self, outputs: Outputs, u: Outputs) -> Outputs:
        """√(p(1 − p)) u."""
        return jnp.sqrt(jax.nn.sigmoid(outputs) * jax.nn.sigmoid(-outputs)) * u

    def fisher_solve(self, outputs: Outputs, v: Outputs) -> Outputs:
        """v / (p(1 − p))."""
        return v / _positive(jax.nn.sigmoid(outputs) * jax.nn.sigmoid(-outputs))


class SquaredError(AbstractLoss):
    """½ ‖y − target‖²; targets [N, O], or [N] for one output. Fisher metric: the identity."""

    kl_clip: ClassVar[float] = 1e-4
    spare: ClassVar[float | None] = 0.0

    def check(self, targets: Shaped[Array | np.ndarray, "..."], out_size: int) -> None:
        """Raise a `ValueError` unless there is a target for every output."""
        _check_numbers(targets, out_size)

    def __call__(self, outputs: Outputs, targets: Shaped[Array, "..."]) -> Float[Array, "*n"]:
        """Loss of each example, half its squared error."""
        return 0.5 * jnp.sum((outputs - _like(targets, outputs)) ** 2, axis=-1)

    def gradient(self, outputs: Outputs, targets: Shaped[Array, "..."]) -> Outputs:
        """y − target."""
        return outputs - _like(targets, outputs)

    def fisher_root(self, outputs: Outputs, u: Outputs) -> Outputs:  # noqa: ARG002
        """The vector itself."""
        return u

    def fisher_solve(self, outputs: Outputs, v: Outputs) -> Outputs:  # noqa: ARG002
        """The vector itself."""
        return v


class Among(AbstractLoss):
    """A loss of outputs of which some are spare: those have no part in it, nor in its metric."""

    loss: AbstractLoss
    alive: Bool[Array, " O"]

    def __call__(self, outputs: Outputs, targets: Shaped[Array, "..."]) -> Float[Array, "*n"]:
        """Loss of each example."""
        return self.loss(self._filled(outputs), targets)

    def gradient(self, outputs: Outputs, targets: Shaped[Array, "..."]) -> Outputs:
        """g_y, zero at spare outputs."""
        return jnp.where(self.alive, self.loss.gradient(self._filled(outputs), targets), 0)

    def fisher_root(self, outputs: Outputs, u: Outputs) -> Outputs:
        """R u, zero at spare outputs whatever u is there."""
        u = jnp.where(self.alive, u, 0)
        return jnp.where(self.alive, self.loss.fisher_root(self._filled(outputs), u), 0)

    def fisher_solve(self, outputs: Outputs, v: Outputs) -> Outputs:
        """M⁺v, zero at spare outputs."""
        return jnp.where(self.alive, self.loss.fisher_solve(self._filled(outputs), v), 0)

    def _filled(self, outputs: Outputs) -> Outputs:
        assert self.loss.spare is not None
        return jnp.where(self.alive, outputs, self.loss.spare)


class AbstractMetric(eqx.Module):
    """A positive semi-definite M [O, O] for every example, as a function of its outputs."""

    @abstractmethod
    def root(self, outputs: Outputs, u: Outputs) -> Outputs:
        """R u, linear in u, with R Rᵀ = M."""

    @abstractmethod
    def solve(self, outputs: Outputs, v: Outputs) -> Outputs:
        """M⁺v for a loss gradient v."""

    def product(self, outputs: Outputs, v: Outputs) -> Outputs:
        """M v."""
        root = partial(self.root, outputs)
        return root(*jax.linear_transpose(root, v)(v))

    def draw(self, key: PRNGKeyArray, outputs: Outputs) -> Outputs:
        """Vectors with mean zero and covariance M, one an example."""
        return self.root(outputs, signs(key, outputs.shape, outputs.dtype))

    def length(self, outputs: Outputs, g: Outputs) -> Float[Array, "*n"]:
        """gᵀM⁺g for loss gradients g; its mean is λ, the most that η can be (section 3.5)."""
        return jnp.sum(g * self.solve(outputs, g), axis=-1)

    def reach(self, losses: Float[Array, "*n"], lengths: Float[Array, "*n"]) -> Float[Array, "*n"]:  # noqa: ARG002
        """What α is relative to, an example: here its share of λ."""
        return lengths


class AmongMetric(AbstractMetric):
    """A metric of outputs of which some are spare."""

    metric: AbstractMetric
    alive: Bool[Array, " O"]

    def root(self, outputs: Outputs, u: Outputs) -> Outputs:
        """R u, zero at spare outputs whatever u is there."""
        return jnp.where(self.alive, self.metric.root(outputs, jnp.where(self.alive, u, 0)), 0)

    def solve(self, outputs: Outputs, v: Outputs) -> Outputs:
        """M⁺v, zero at spare outputs."""
        return jnp.where(self.alive, self.metric.solve(outputs, v), 0)

    def reach(self, losses: Float[Array, "*n"], lengths: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """What α is relative to, an example."""
        return self.metric.reach(losses, lengths)


class Euclidean(AbstractMetric):
    """M = I, the paper's choice (section 3.3)."""

    def root(self, outputs: Outputs, u: Outputs) -> Outputs:  # noqa: ARG002
        """The vector itself."""
        return u

    def solve(self, outputs: Outputs, v: Outputs) -> Outputs:  # noqa: ARG002
        """The vector itself."""
        return v


class Fisher(AbstractMetric):
    """The Fisher information of a loss read as a negative log-likelihood."""

    loss: AbstractLoss

    def root(self, outputs: Outputs, u: Outputs) -> Outputs:
        """R u, linear in u, with R Rᵀ = M."""
        return self.loss.fisher_root(outputs, u)

    def solve(self, outputs: Outputs, v: Outputs) -> Outputs:
        """M⁺v for a loss gradient v."""
        return self.loss.fisher_solve(outputs, v)

    def reach(self, losses: Float[Array, "*n"], lengths: Float[Array, "*n"]) -> Float[Array, "*n"]:  # noqa: ARG002
        """Twice the loss: half of η is how far the loss can fall in the quadratic model.

        For squared error that is λ itself. For cross-entropy λ = E[1/p_y − 1] is at the mercy
        of a few badly misjudged examples; their losses are not.
        """
        return 2 * losses


LOSSES: dict[str, type[AbstractLoss]] = {
    "softmax_cross_entropy": SoftmaxCrossEntropy,
    "binary_cross_entropy": BinaryCrossEntropy,
    "squared_error": SquaredError,
}
METRICS = ("euclidean", "fisher")


def make_loss(loss: str | AbstractLoss) -> AbstractLoss:
    """The loss of that name, one of `LOSSES`, or the given one itself."""
    if isinstance(loss, AbstractLoss):
        return loss
    if loss not in LOSSES:
        raise ValueError(f"loss={loss!r} is not known; choose one of {', '.join(LOSSES)}.")
    return LOSSES[loss]()


def make_metric(metric: str | AbstractMetric, loss: AbstractLoss) -> AbstractMetric:
    """The output metric "euclidean", or "fisher" of `loss`, or the given one itself."""
    if isinstance(metric, AbstractMetric):
        return metric
    if metric not in METRICS:
        raise ValueError(f"metric={metric!r} is not known; choose one of {', '.join(METRICS)}.")
    return Euclidean() if metric == "euclidean" else Fisher(loss)


def takes_spares(loss: AbstractLoss, metric: AbstractMetric) -> bool:
    """Whether outputs may have spare slots: what others make of them is not known."""
    return loss.spare is not None and isinstance(metric, Euclidean | Fisher)


def among_loss(alive: Bool[Array, " O"], loss: AbstractLoss) -> AbstractLoss:
    """The loss of the outputs that are alive; itself if it takes no spare ones."""
    return loss if loss.spare is None else Among(loss, alive)


def among_metric(alive: Bool[Array, " O"], metric: AbstractMetric) -> AbstractMetric:
    """The metric of the outputs that are alive; itself if it takes no spare ones."""
    if isinstance(metric, Fisher):
        return Fisher(among_loss(alive, metric.loss))
    return AmongMetric(metric, alive) if isinstance(metric, Euclidean) else metric


def signs(key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any) -> Float[Array, "*n O"]:
    """Random signs [..., O]. Those of an example are the same beside any others.

    One draw gives 32 of them: random numbers are slow to compile, and to draw.
    """
    *n, columns = shape
    words = -(-columns // WORD)
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(words)) if words > 1 else key[None]
    bits = jax.vmap(lambda k: jax.random.bits(k, tuple(n), jnp.uint32), out_axes=-1)(keys)
    spread = (bits[..., None] >> jnp.arange(WORD, dtype=jnp.uint32)) & 1  # [..., words, 32]
    return (1 - 2 * spread.reshape(*n, words * WORD)[..., :columns].astype(dtype)).astype(dtype)


def mean_loss(
    loss: AbstractLoss, outputs: Outputs, targets: Any, weights: Float[Array, "*n"]
) -> Float[Array, ""]:
    """E[w · loss]. Weights are taken as they are; a mean of one keeps the loss's own scale."""
    return jnp.mean(weights * loss(outputs, targets))


def _like(targets: Shaped[Array, "..."], outputs: Outputs) -> Outputs:
    if outputs.shape[-1] == 1 and targets.ndim == outputs.ndim - 1:
        targets = targets[..., None]  # [N] would broadcast to [N, N] in silence
    if targets.shape != outputs.shape:
        raise ValueError(
            f"Outputs of shape {outputs.shape} need targets of that shape, or [N] for one output; "
            f"got {targets.shape}."
        )
    return targets.astype(outputs.dtype)


def _check_numbers(targets: Shaped[Array | np.ndarray, "..."], out_size: int) -> None:
    shapes = [(out_size,), ()] if out_size == 1 else [(out_size,)]
    if targets.shape[1:] not in shapes:
        raise ValueError(
            f"{out_size} outputs need targets [N, {out_size}]{', or [N]' * (out_size == 1)}; "
            f"got {targets.shape}."
        )


def _alive(outputs: Outputs) -> Bool[Array, "*n O"]:
    """Which logits are not those of spare outputs."""
    return outputs > NEVER / 2


def _positive(p: Outputs) -> Outputs:
    # Keeps λ finite where a probability rounds to 0; exact down to 1e-19 in float32.
    return jnp.maximum(p, jnp.finfo(p.dtype).tiny ** 0.5)
