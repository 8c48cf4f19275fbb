"""Sizes that Equinox's own layers keep beside their arrays, made to follow the arrays."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

nn = eqx.nn
Layer = Any


def without_sizes(module: Any) -> Any:
    """The module with zeros for the sizes that `sized` finds in the arrays.

    Modules of other widths are then trees of one structure.
    """
    return _replaced(module, lambda layer: dict.fromkeys(_sizes(layer), 0))


def sized(module: Any) -> Any:
    """The module with the sizes that its arrays have."""
    return _replaced(module, _sizes)


def _replaced(module: Any, sizes: Callable[[Layer], dict[str, Any]]) -> Any:
    def known(node: Any) -> bool:
        return type(node) in SIZES

    def replaced(node: Any) -> Any:
        if not known(node):
            return node
        inner = [f.name for f in dataclasses.fields(node) if not f.metadata.get("static", False)]
        new = object.__new__(type(node))
        for field in dataclasses.fields(node):
            if hasattr(node, field.name):
                value = getattr(node, field.name)
                if field.name in inner:
                    value = _replaced(value, sizes)
                object.__setattr__(new, field.name, value)
        for name, size in sizes(node).items():
            object.__setattr__(new, name, size)
        return new

    return jax.tree.map(replaced, module, is_leaf=known)


def _sizes(layer: Layer) -> dict[str, Any]:
    try:
        found = SIZES[type(layer)](layer)
    except AttributeError:  # something else stands for its arrays, as `eqx.nn.Shared` has it
        return {}
    # "scalar" stays, and None
    return {k: n for k, n in found.items() if not isinstance(getattr(layer, k), str | None)}


def _linear(layer: Any) -> dict[str, Any]:
    *_, out, into = layer.weight.shape
    return {"in_features": into, "out_features": out}


def _conv(layer: Any) -> dict[str, Any]:
    out, into, *_ = layer.weight.shape
    return {"in_channels": into * layer.groups, "out_channels": out}


def _norm(layer: Any) -> dict[str, Any]:
    array = layer.weight if layer.weight is not None else layer.bias
    return {} if array is None else {"shape": array.shape}


def _group_norm(layer: Any) -> dict[str, Any]:
    if layer.weight is None:
        return {}
    (channels,) = layer.weight.shape
    each = layer.groups in (layer.channels, 0)  # of a channel alone, as `without_sizes` has it
    return {"channels": channels, **({"groups": channels} if each else {})}


def _mlp(layer: Any) -> dict[str, Any]:
    widths = [one.weight.shape[-2] for one in layer.layers[:-1]]
    into, out = layer.layers[0].weight.shape[-1], layer.layers[-1].weight.shape[-2]
    return {"in_size": into, "out_size": out, "width_size": max(widths, default=0)}


SIZES: dict[type, Callable[[Any], dict[str, Any]]] = {
    nn.Linear: _linear,
    **dict.fromkeys((nn.Conv, nn.Conv1d, nn.Conv2d, nn.Conv3d), _conv),
    **dict.fromkeys((nn.LayerNorm, nn.RMSNorm), _norm),
    nn.GroupNorm: _group_norm,
    nn.MLP: _mlp,
}
