"""The activations a hidden layer may have: one class each, with all that the library asks of it.

A class of your own is registered by its name (`register`), and then works wherever a name does.
"""

from abc import abstractmethod
from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from senn import plain
from senn.arrays import to_device
from senn.nn.rational import IDENTITY, rational, rational_features
from senn.standalone import numpy_predict
from senn.words import joined


class AbstractActivation(eqx.Module):
    """An elementwise function of a unit, linear in coefficients: σ(z) = Σ_f θ_f φ_f(z).

    Where `learned` is 0, there is one feature, σ itself, and no θ. Else every unit has a θ of its
    own, trained with its weights, and σ of θ = 0 is 0, which keeps a spare slot silent; without
    θ that asks for σ(0) = 0.
    """

    theta: eqx.AbstractVar[Any]  # [F, c], or None

    name: ClassVar[str]  # in files, and for the command
    learned: ClassVar[int] = 0  # coefficients a unit
    identity: ClassVar[tuple[float, ...] | None] = None  # θ of the identity, if there is one
    homogeneous: ClassVar[bool] = False  # whether σ(cz) = cσ(z) for c > 0
    numpy: ClassVar[Callable[[np.ndarray, np.ndarray | None], np.ndarray]]  # σ(z) for θ [F, ...]

    @classmethod
    @abstractmethod
    def features(cls, z: Float[Array, "*s"]) -> Float[Array, "F *s"]:
        """φ(z), finite with finite derivatives for finite z."""

    @staticmethod
    def onnx(graph: Any, z: str, theta: np.ndarray | None) -> str:
        """Add σ(z) to an ONNX graph, by its `node` and `constant`; the name of what it outputs."""
        raise NotImplementedError

    @staticmethod
    def formula(theta: np.ndarray | None) -> str | None:
        """σ of one unit in words, if it has others than its name."""

    def __call__(self, z: Float[Array, "*n c"]) -> Float[Array, "*n c"]:
        """Apply the activation to pre-activations."""
        phi = self.features(z)
        if self.theta is None:
            return phi[0]
        return reduce(add, (t * f for t, f in zip(self.theta, phi, strict=True)))

    @classmethod
    def of(cls, theta: Float[Array, "F c"] | None) -> "AbstractActivation":
        """Of units with these coefficients, [F, c] or None."""
        return cls(theta)

    @classmethod
    def drawn(
        cls, draw: np.random.Generator, size: int, capacity: int, dtype: Any
    ) -> "AbstractActivation":
        """Of `size` new units in so many slots: θ is standard normal (appendix C)."""
        if not cls.learned:
            return cls.of(None)
        theta = np.zeros((cls.learned, capacity))
        theta[:, :size] = draw.normal(size=(cls.learned, size))
        return cls.of(to_device(theta, dtype))


Activation = type[AbstractActivation]


class Rational(AbstractActivation):
    """σ(z) = αz + (β + γz)/(1 + z²), θ = (α, β, γ) per unit (section 3.1)."""

    theta: Float[Array, "3 c"]

    name = "rational"
    learned = 3
    identity = IDENTITY
    numpy = numpy_predict.ACTIVATIONS["rational"]

    @classmethod
    def features(cls, z: Float[Array, "*s"]) -> Float[Array, "3 *s"]:
        """[z, 1/(1 + z²), z/(1 + z²)]."""
        return rational_features(z)

    def __call__(self, z: Float[Array, "*n c"]) -> Float[Array, "*n c"]:
        """Without stacking the features."""
        return rational(z, self.theta)

    @staticmethod
    def formula(theta: np.ndarray | None) -> str:
        """With the numbers of its θ."""
        assert theta is not None
        a, b, c = (f"{float(v):.3g}".replace("-", "−") for v in theta)
        return f"σ(z) = {a} z + ({b} + {c} z)/(1 + z²)".replace("+ −", "− ")

    @staticmethod
    def onnx(graph: Any, z: str, theta: np.ndarray | None) -> str:
        """αz + (β + γz)/(1 + z²)."""
        assert theta is not None
        alpha, beta, gamma = (
            graph.constant(f"{name}_{z}", value)
            for name, value in zip(("alpha", "beta", "gamma"), theta, strict=True)
        )
        above = graph.node("Add", graph.node("Mul", z, gamma), beta)
        below = graph.node("Add", graph.node("Mul", z, z), graph.constant("one", 1))
        return graph.node("Add", graph.node("Mul", z, alpha), graph.node("Div", above, below))


class AbstractFixed(AbstractActivation):
    """The same function for every unit."""

    theta: None = None

    function: ClassVar[Callable[[Any], Array]]  # σ, elementwise; σ(0) is 0

    @classmethod
    def features(cls, z: Float[Array, "*s"]) -> Float[Array, "1 *s"]:
        """σ(z) alone."""
        return cls.function(z)[None]


class ReLU(AbstractFixed):
    """max(z, 0)."""

    name, homogeneous = "relu", True
    numpy = numpy_predict.ACTIVATIONS["relu"]
    function = staticmethod(jax.nn.relu)

    @staticmethod
    def onnx(graph: Any, z: str, theta: np.ndarray | None) -> str:  # noqa: ARG004
        """ONNX's own."""
        return graph.node("Relu", z)


class SiLU(AbstractFixed):
    """z/(1 + exp(−z))."""

    name = "silu"
    numpy = numpy_predict.ACTIVATIONS["silu"]
    function = staticmethod(jax.nn.silu)

    @staticmethod
    def onnx(graph: Any, z: str, theta: np.ndarray | None) -> str:  # noqa: ARG004
        """By the sigmoid."""
        return graph.node("Mul", z, graph.node("Sigmoid", z))


class GELU(AbstractFixed):
    """½z(1 + tanh(√(2/π)(z + 0.044715z³)))."""

    name = "gelu"
    numpy = numpy_predict.ACTIVATIONS["gelu"]
    function = staticmethod(jax.nn.gelu)

    @staticmethod
    def onnx(graph: Any, z: str, theta: np.ndarray | None) -> str:  # noqa: ARG004
        """By the hyperbolic tangent, as JAX has it; ONNX's own came with opset 20."""
        half, one = graph.constant("half", 0.5), graph.constant("one", 1)
        root, cubic = graph.constant("root", np.sqrt(2 / np.pi)), graph.constant("cubic", 0.044715)
        cube = graph.node("Mul", graph.node("Mul", z, z), graph.node("Mul", z, cubic))
        bend = graph.node("Tanh", graph.node("Mul", graph.node("Add", z, cube), root))
        return graph.node("Mul", graph.node("Mul", z, half), graph.node("Add", bend, one))


class Tanh(AbstractFixed):
    """The hyperbolic tangent."""

    name = "tanh"
    numpy = numpy_predict.ACTIVATIONS["tanh"]
    function = staticmethod(jnp.tanh)

    @staticmethod
    def onnx(graph: Any, z: str, theta: np.ndarray | None) -> str:  # noqa: ARG004
        """ONNX's own."""
        return graph.node("Tanh", z)


ACTIVATIONS: dict[str, Activation] = {}  # by name


def register(activation: Activation) -> Activation:
    """Let a class be known by its name: to networks, estimators, files, predictions, exports.

    A decorator. Files hold the name alone: whoever loads one registers the class first. A
    `ValueError` if there is another of that name, or the class does not say what it needs to.
    """
    lacking = [name for name in ("name", "numpy") if not hasattr(activation, name)]
    if lacking:
        raise ValueError(
            f"{activation.__name__!r} is no activation: it lacks "
            f"{joined(lacking)}; derive it from senn.nn.AbstractActivation or AbstractFixed, and "
            "say both."
        )
    if ACTIVATIONS.get(activation.name, activation) is not activation:
        raise ValueError(f"There is an activation called {activation.name!r} already.")
    ACTIVATIONS[activation.name] = activation
    numpy_predict.ACTIVATIONS[activation.name] = activation.numpy
    plain.LEARNED[activation.name] = activation.learned
    return activation


for _activation in (Rational, ReLU, SiLU, GELU, Tanh):
    register(_activation)


def activation_called(name: str | Activation) -> Activation:
    """The class with this name, or the class itself; a `ValueError` for a name that none has."""
    if not isinstance(name, str):
        return register(name)
    if name not in ACTIVATIONS:
        raise ValueError(
            f"activation={name!r} is not known; choose one of {', '.join(ACTIVATIONS)}, or "
            "register your own by senn.nn.register."
        )
    return ACTIVATIONS[name]
