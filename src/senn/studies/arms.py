"""Other ways to make new units, as searches that `senn.fit` takes: what the score is compared with.

None of them chooses among candidates: the units come in the order of the method. No other method
says anything of θ, so θ is drawn as in the starting network (appendix C), except that a copy keeps
its own. Whatever is added has outgoing weights of zero and the scale that `Policy.unit_scale` asks.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from senn.actions import AbstractAction
from senn.curvature import MapRows
from senn.linalg import inverse_root, relative_ridge
from senn.nn import MLP, Hidden
from senn.proposals import AbstractProposer
from senn.proposals.problem import Problem, Units
from senn.proposals.units import draw_units
from senn.score import residual_gradient


class AbstractInOrder(AbstractProposer):
    """A search whose candidates are taken as they come, whatever they score."""

    def select(
        self,
        relative_scores: Float[Array, " P"],
        key: PRNGKeyArray,  # noqa: ARG002
    ) -> tuple[Int[Array, ""], Int[Array, " S"], Float[Array, " S"]]:
        """The first that has not been taken; those that have score −∞."""
        index = jnp.argmax(jnp.isfinite(relative_scores))
        return index, index[None], jnp.ones(1, relative_scores.dtype)


class Draw(AbstractInOrder):
    """Random units, one draw each."""

    candidates: int = 16

    def search(self, problem: Problem, key: PRNGKeyArray) -> Units:
        """Units as the starting network has them, with random biases."""
        return draw_units(problem, self.candidates, key)


class AbstractSpectral(AbstractInOrder):
    """Incoming weights along singular directions; units beyond the rank are random.

    The constant 1 counts as an input. z is scaled to a mean square of 1.
    """

    readers: eqx.AbstractVar[tuple[MapRows, ...]]  # set by `at`

    def at(
        self,
        network: MLP,  # noqa: ARG002
        action: AbstractAction,  # noqa: ARG002
        readers: Sequence[MapRows],
    ) -> AbstractProposer:
        """The search that knows the gradients at the maps that will read the units."""
        return replace(self, readers=tuple(readers))

    @abstractmethod
    def directions(self, a: Float[Array, "N J"]) -> tuple[Float[Array, "J P"], Float[Array, " P"]]:
        """Incoming weights by rank, and 1 for those within the rank, else 0."""

    def search(self, problem: Problem, key: PRNGKeyArray) -> Units:
        """The directions, largest first."""
        a, drawn = problem.fit.a, draw_units(problem, self.candidates, key)
        w, usable = self.directions(a)
        rms = jnp.sqrt(jnp.mean((a @ w) ** 2, axis=0))
        w, given = (w / jnp.where(rms > 0, rms, 1)).T, usable > 0
        return Units(
            jnp.where(given[:, None, None], w[:, :-1, None], drawn.weight),
            jnp.where(given[:, None], w[:, -1:], drawn.bias),
            drawn.theta,
        )


class GradMax(AbstractSpectral):
    """The top left singular vectors of E[a gᵀ] (Evci et al., ICLR 2022).

    For units z = wᵀa and ‖w‖ fixed these maximise the gradient norm ‖E[z g]‖ of the new outgoing
    weights, g being the loss gradient at the map that will read them. (The paper mostly sets the
    outgoing weights so, and leaves the incoming ones zero; the two maps have exchanged roles.)
    """

    candidates: int = 16
    readers: tuple[MapRows, ...] = ()

    def directions(self, a: Float[Array, "N J"]) -> tuple[Float[Array, "J P"], Float[Array, " P"]]:
        """The singular directions of the gradient."""
        g = jnp.concatenate([reader.g for reader in self.readers], axis=1)
        return top_directions(a.T @ g / a.shape[0], self.candidates)


class Tiny(AbstractSpectral):
    """A^(−½)u, u the top left singular vectors of A^(−½)E[a g_rᵀ].

    TINY (Verbockhaven et al., TMLR 2024), as in gromo: A = E[a aᵀ] of what the units would read,
    g_r what the present inputs of the reading map do not explain of its gradient. It is the best
    linear unit by Δη′ in the metric S = I. Both second moments are damped, relative to their mean
    diagonals, as by default in the score; gromo cuts off small eigenvalues.
    """

    candidates: int = 16
    readers: tuple[MapRows, ...] = ()
    damping: float = 0.1

    def directions(self, a: Float[Array, "N J"]) -> tuple[Float[Array, "J P"], Float[Array, " P"]]:
        """The whitened singular directions of the residual gradient."""
        A = a.T @ a / a.shape[0]
        # Any root R of A⁻¹ gives the same R u: it is A^(−½) times an orthogonal matrix.
        root = inverse_root(A, relative_ridge(A, self.damping))
        left = [residual_gradient(of.a, of.g, self.damping) for of in self.readers]
        g_r = jnp.concatenate(left, axis=1)
        u, usable = top_directions(root.T @ (a.T @ g_r) / a.shape[0], self.candidates)
        return root @ u, usable


class Split(AbstractInOrder):
    """Copies of the layer's own units, slightly off (as in Net2Net, Chen et al. 2016).

    The copies start with outgoing weights of zero rather than half of the original's: like all
    that is added here, they leave the outputs as they are bit for bit. Units to copy are drawn
    without replacement, as far as there are enough. A new layer has none; its units are random.
    """

    candidates: int = 16
    noise: float = 0.1  # on weights and bias, relative to their root mean square
    layer: Hidden | None = None  # that is to be widened, set by `at`; None for a new layer

    def at(
        self,
        network: MLP,
        action: AbstractAction,
        readers: Sequence[MapRows],  # noqa: ARG002
    ) -> "Split":
        """The search that knows the layer to be widened."""
        return replace(self, layer=None if action.inserts else network.hidden[action.position])

    def search(self, problem: Problem, key: PRNGKeyArray) -> Units:
        """Copies, in random order."""
        if self.layer is None:
            return draw_units(problem, self.candidates, key)
        dense, alive = self.layer.dense, self.layer.born >= 0
        size = jnp.sum(alive)
        order_key, noise_key = jax.random.split(key)
        slots = jnp.arange(dense.bias.shape[0])
        late = jnp.where(alive, 0, 1)  # dormant slots come last
        order = jnp.argsort(late + jax.random.uniform(order_key, slots.shape))
        copied = order[jnp.arange(self.candidates) % size]
        weight = dense.weight[:, copied].T  # [P, I]
        padding = problem.inputs.shape[0] - weight.shape[1]
        weight = jnp.pad(weight, ((0, 0), (0, padding)))
        w = jnp.concatenate([weight, dense.bias[copied, None]], axis=1)  # [P, I + 1]
        w = w + self.noise * _noise(problem, w, noise_key)
        theta = self.layer.activation.theta
        copies = None if theta is None else theta[:, copied].T[..., None]
        return Units(w[:, :-1, None], w[:, -1:], copies)


def top_directions(
    C: Float[Array, "J O"], count: int
) -> tuple[Float[Array, "J P"], Float[Array, " P"]]:
    """The first `count` left singular vectors of C, and 1 for those with a singular value, else 0.

    Columns beyond the rank are zero.
    """
    u, s, _ = jnp.linalg.svd(C, full_matrices=False)
    s, u = s[:count], u[:, :count]
    lacking = count - s.shape[0]
    usable = s > max(C.shape) * jnp.finfo(C.dtype).eps * s[0]
    usable = jnp.pad(usable.astype(C.dtype), (0, lacking))
    return jnp.pad(u, ((0, 0), (0, lacking))) * usable, usable


def _noise(problem: Problem, w: Float[Array, "P J"], key: PRNGKeyArray) -> Float[Array, "P J"]:
    """Normal draws of the root mean square of each row of w; nothing where there is no input."""
    used = jnp.append(problem.inputs, True)
    rms = jnp.sqrt(jnp.sum(w**2, axis=1, keepdims=True) / jnp.sum(used))
    return rms * used * jax.random.normal(key, w.shape, w.dtype)
