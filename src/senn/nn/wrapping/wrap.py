"""`senn.wrap`: from a module to a network."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from senn.arrays import path_of
from senn.nn.edits import resize
from senn.nn.norms import AbstractCounting
from senn.nn.spaces import first_units, leaf_at, slots
from senn.nn.wrapping.building import Builder
from senn.nn.wrapping.inference import Axes
from senn.nn.wrapping.known import Rest
from senn.nn.wrapping.layers import without_sizes
from senn.nn.wrapping.network import Plan, Wrapped
from senn.nn.wrapping.probing import refusals
from senn.nn.wrapping.spaces import Layout
from senn.nn.wrapping.tracing import Variable
from senn.nn.wrapping.uses import WrapError, uses
from senn.readers import first_sentence
from senn.words import quoted


def wrap(module: Any, example: Any) -> Wrapped:
    """Make a network that can grow of an Equinox module.

    The module is called on one example, as Equinox has it, and looked at: every product and
    convolution with a parameter is a linear map, and axes that such maps write and others read may
    grow, if spare slots in them are silent. That is tried on the module's own code; what may not
    grow is rigid, with its reason: `print(network)` tells.

    Args:
        module: takes one example alone, `module(example)`, and returns a vector of outputs. Give
            what has dropout as `eqx.nn.inference_mode(module)`.
        example: an array of the shape of one example; its numbers are tried, with noise.

    Returns:
        A network of examples [N, ...]: train and grow it by :func:`senn.fit`; `unwrap()` gives
        the module back. A `WrapError` for a module that does more with its parameters than can be
        followed.
    """
    example = _checked(module, example)
    module = without_sizes(module)
    rest, names, params, trace = _traced(module, example)
    key = (rest, example.shape, str(example.dtype))
    axes = Axes(trace)
    found = uses(trace, axes, names)
    layout = Layout(trace, axes, found, names)
    refused: dict[str, str] = {}
    while True:
        builder = Builder(layout, key, refused)
        plan = Plan(rest, builder.graph(), example.shape, builder.plain, trace.names)
        born = tuple(first_units(slots_of(params, space)) for space in plan.graph.spaces)
        network = Wrapped(params, born, plan)
        more = refusals(network, example)
        if not more:
            return _with_room(network)
        refused |= more


def slots_of(params: Any, space: Any) -> int:
    """How many slots a space has in the module as it is given."""
    return slots(_Tree(params), space)


class _Tree:
    def __init__(self, module: Any):
        self.module = module


def _with_room(network: Wrapped) -> Wrapped:
    """With slots to grow into."""
    for space in network.graph.hidden:
        if not space.rigid:
            network = resize(network, space, space.capacity(slots(network, space)))
    return network


def _checked(module: Any, example: Any) -> np.ndarray:
    if not isinstance(module, eqx.Module) or not callable(module):
        raise WrapError(
            f"senn.wrap takes a module of Equinox that can be called; got {type(module).__name__}."
        )
    try:
        array = np.asarray(example)
    except ValueError as error:
        raise WrapError(
            f"senn.wrap takes an example that is one array; got a {type(example).__name__} "
            f"({first_sentence(error)})."
        ) from error
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise WrapError(
            f"senn.wrap takes an example of floating-point numbers; got {array.dtype}: put what "
            "is looked up by integers, such as an embedding, before the module."
        )
    if not array.ndim:
        raise WrapError("senn.wrap takes an example that is an array, such as [I]; got a number.")
    if not np.isfinite(array).all():
        raise WrapError("senn.wrap tries the module on the example; got one with NaN or infinity.")
    return array.astype(_dtype(module))


def _dtype(module: Any) -> Any:
    """Of the parameters, once they are such as can be trained."""
    params, name = jax.tree.leaves(eqx.filter(module, eqx.is_inexact_array)), type(module).__name__
    if not params:
        raise WrapError(f"{name} has no parameters to train.")
    others = {str(leaf.dtype) for leaf in params} - {"float32", "float64"}
    if others:
        raise WrapError(
            f"{name} has parameters of {quoted(sorted(others))}; senn.wrap takes float32 or "
            "float64: convert them before."
        )
    if not all(leaf.size for leaf in params):
        raise WrapError(f"{name} has a parameter without numbers: give every layer a unit or more.")
    return params[0].dtype


def _traced(module: Any, example: np.ndarray) -> tuple[Rest, list[str], Any, Any]:
    """The program, of the parameters that it uses; those that it does not are left alone."""
    trained = _trained(module)
    rest, names, params, trace = _program(module, trained, example)
    used = {v for e in trace.equations for v in e.inputs if isinstance(v, Variable)}
    idle = [n for n, v in enumerate(trace.arrays) if v not in used]
    if idle:
        leaves = iter(range(len(trace.arrays)))
        trained = jax.tree.map(lambda mine: mine and next(leaves) not in idle, trained)
        rest, names, params, trace = _program(module, trained, example)
    return rest, names, params, trace


def _trained(module: Any) -> Any:
    """What is of the network: parameters, and which units count in norms."""

    def counts(node: Any) -> bool:
        return isinstance(node, AbstractCounting)

    def of(node: Any) -> Any:
        return jax.tree.map(eqx.is_array if counts(node) else eqx.is_inexact_array, node)

    return jax.tree.map(of, module, is_leaf=counts)


def _program(module: Any, trained: Any, example: np.ndarray) -> tuple[Rest, list[str], Any, Any]:
    rest, params = Rest(module, trained), eqx.filter(module, trained)
    paths = jax.tree_util.tree_leaves_with_path(params)
    try:
        trace = rest.program([leaf for _, leaf in paths], example.shape, example.dtype)
    except Exception as error:
        raise WrapError(
            f"{type(module).__name__} cannot be called on one example alone, "
            f"{list(example.shape)}: {first_sentence(error)}; give what has dropout as "
            "eqx.nn.inference_mode(module), and layers without state."
        ) from error
    if len(trace.outputs) != 1 or len(trace.outputs[0].shape) != 1:
        shapes = [list(v.shape) for v in trace.outputs]
        raise WrapError(
            f"{type(module).__name__} must return one vector of outputs for an example; got "
            f"{shapes[0] if len(shapes) == 1 else shapes}."
        )
    if not jnp.issubdtype(trace.outputs[0].dtype, jnp.floating):
        raise WrapError(
            f"{type(module).__name__} must return floating-point numbers, of which there are "
            f"gradients; got {trace.outputs[0].dtype}."
        )
    return rest, [_name(params, path, leaf) for path, leaf in paths], params, trace


def _name(params: Any, path: Any, leaf: Any) -> str:
    """The path of a parameter, by which it is found again."""
    name = path_of(path)
    try:
        found = leaf_at(params, name) is leaf
    except (AttributeError, LookupError, TypeError):
        found = False
    if not found:
        raise WrapError(
            f"the parameter {name} is not found by that path: keep parameters in modules, lists, "
            "tuples, and dictionaries without dots in their keys."
        )
    return name
