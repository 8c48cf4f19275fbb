"""Predict with a network that `senn export RUN model.npz` wrote. This file needs NumPy alone.

    import numpy as np
    import model_predict

    model = model_predict.load("model.npz")
    model_predict.predict(model, X)        # labels [N], or numbers [N] or [N, O]
    model_predict.predict_proba(model, X)  # [N, classes], in the order of model["classes"]

X [N, I] has a column for each of model["feature_names"], in that order; words, dates and gaps
(None, NaN) are welcome where training had them. All is computed in float32 if that holds the type
of X exactly, else in float64. What comes out for a row is the same
bit for bit whichever rows stand beside it, and whether it is one of many or alone.

senn's own estimators predict with this file.
"""

import json

import numpy as np

from senn.standalone.numpy_columns import encode

# BLAS rounds a product as its shape, the place in it and its threads have it. So products have one
# shape, at most 8 × 1024 × 32: small enough for OpenBLAS to take one thread, and such that all
# its kernels treat every row alike and every column (16 rows would not do: Haswell's 4-byte kernel
# takes 12 of them at once, and sums up the other 4 in another order).
ROWS, DEPTH, COLUMNS = 8, 1024, 32
ROWS_AT_ONCE = 512  # which bounds the memory, whatever the number of rows


def _rational(z, theta):
    """αz + (β + γz)/(1 + z²), which is αz for a z whose square is infinite."""
    alpha, beta, gamma = theta
    even = z * z
    even += 1
    np.divide(1, even, out=even)
    odd = z * even
    odd *= gamma
    even *= beta
    z = alpha * z
    z += even
    z += odd
    return z


ACTIVATIONS = {
    "rational": _rational,
    "relu": lambda z, _: np.maximum(z, 0),
    "silu": lambda z, _: z / (1 + np.exp(-z)),
    "gelu": lambda z, _: z * (0.5 * (1 + np.tanh(0.7978845608028654 * (z + 0.044715 * z * z * z)))),
    "tanh": lambda z, _: np.tanh(z),
}
BUILT_IN = tuple(ACTIVATIONS)  # senn may add those of its users


def load(path):
    """The model: a dictionary of arrays."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def outputs(model, X):
    """Outputs [N, O] of the network for rows X [N, I]: logits, or standardised targets."""
    x = np.asarray(X if hasattr(X, "dtype") or "columns" not in model else np.array(X, object))
    if x.ndim != 2 or x.shape[1] != len(model["feature_names"]):
        raise ValueError(f"X must be [rows, {len(model['feature_names'])}]; got {x.shape}.")
    if "columns" in model:
        x = encode(json.loads(str(model["columns"])), list(x.T))
    elif "fill" in model and x.dtype.kind == "f":
        x = np.where(np.isnan(x), model["fill"].astype(x.dtype), x)
    dtype = np.float32 if np.can_cast(x.dtype, np.float32) else np.float64
    scale = (model["input_mean"], model["input_scale"]) if "input_mean" in model else None
    return forward(layers(model, dtype), x, scale)


def predict_proba(model, X):
    """Probabilities [N, classes]."""
    return softmax(outputs(model, X))


def predict(model, X):
    """The most probable label of each row [N]; of a regression, numbers [N] or [N, O]."""
    y = outputs(model, X)
    if "classes" in model:
        return model["classes"][y.argmax(axis=1)]
    values = y * model["target_scale"] + model["target_mean"]
    return values[:, 0] if model["one_output"] else values


def softmax(y):
    """Probabilities [N, O] of logits [N, O]."""
    p = np.exp(y - y.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def log_softmax(y):
    """Logarithms [N, O] of the probabilities of logits [N, O]."""
    y = y - y.max(axis=1, keepdims=True)
    return y - np.log(np.exp(y).sum(axis=1, keepdims=True))


# --- The network ---------------------------------------------------------------------------


def layers(model, dtype):
    """What `forward` needs of a model: the parameters in `dtype`, cut into tiles.

    Node 0 is the row, node l + 1 hidden layer l. For every map, which reads some nodes: its
    number of outputs; for each piece of a node, at most `DEPTH` deep, the node, where the piece
    begins and ends in it, and the weights [tiles, depth, COLUMNS]; the bias [tiles, 1, COLUMNS];
    and the activation with its θ [F, tiles, 1, COLUMNS], or None for the outputs.
    """
    sigma, made, m = ACTIVATIONS[str(model["activation"])], [], 0
    sizes = [len(model["weight_0"])]  # of the nodes
    while f"weight_{m}" in model:
        weight, bias, theta = (model.get(f"{name}_{m}") for name in ("weight", "bias", "theta"))
        pieces, start = [], 0
        for node in model[f"sources_{m}"]:
            for first in range(0, sizes[node], DEPTH):
                last = min(first + DEPTH, sizes[node])
                tiles = _tiles(weight[start + first : start + last], dtype)
                pieces.append((int(node), first, last, tiles.swapaxes(0, 1).copy()))
            start += sizes[node]
        activate = sigma if f"weight_{m + 1}" in model else None
        theta = theta if theta is None else _tiles(theta, dtype)[:, :, None]
        made.append((len(bias), pieces, _tiles(bias, dtype)[:, None], activate, theta))
        sizes.append(len(bias))
        m += 1
    return made


def _tiles(array, dtype):
    """The last axis in tiles [..., tiles, COLUMNS], filled up with zeros."""
    beyond = -array.shape[-1] % COLUMNS
    filled = np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, beyond)])
    return filled.astype(dtype).reshape(*array.shape[:-1], -1, COLUMNS)


def forward(layers, x, scale=None):
    """Outputs [N, O] in float64, computed in the type of the layers, for rows x [N, I].

    With `scale`, mean [I] and scale [I], the rows are standardised first, in float64.
    """
    n, dtype = len(x), layers[0][2].dtype
    y = np.empty((n, layers[-1][0]))
    for start in range(0, n, ROWS_AT_ONCE):
        part = x[start : start + ROWS_AT_ONCE]
        blocks = np.zeros((-(-len(part) // ROWS), ROWS, x.shape[1]), dtype)
        rows = blocks.reshape(-1, x.shape[1])
        if scale is None:
            rows[: len(part)] = part
        else:
            rows[: len(part)] = (part - scale[0]) / scale[1]
        y[start : start + ROWS_AT_ONCE] = _outputs(layers, blocks)[: len(part)]
    return y


def _outputs(layers, x):
    """Outputs [rows, O] for blocks of rows [blocks, ROWS, I]."""
    nodes = [x]
    # z² of a large z is infinite, and σ(z) then αz; the outputs may be infinite too, or NaN.
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for size, pieces, bias, sigma, theta in layers:
            products = (
                nodes[node][:, None, :, first:last] @ weight for node, first, last, weight in pieces
            )
            z = next(products)  # [blocks, tiles, ROWS, COLUMNS]
            for product in products:
                z += product
            z += bias
            a = z if sigma is None else sigma(z, theta)
            # [blocks, ROWS, tiles × COLUMNS]
            nodes.append(a.swapaxes(1, 2).reshape(len(x), ROWS, -1)[:, :, :size])
    return nodes[-1].reshape(-1, layers[-1][0])
