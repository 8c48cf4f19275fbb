"""Predict with a network that `senn export RUN model.npz` wrote. This file needs NumPy alone.

    import numpy as np
    import model_predict

    model = model_predict.load("model.npz")
    model_predict.predict(model, X)        # labels [N], or numbers [N] or [N, O]
    model_predict.predict_proba(model, X)  # [N, classes], in the order of model["classes"]

X [N, I] has a column for each of model["feature_names"], in that order.
"""

import numpy as np

ACTIVATIONS = {
    "rational": lambda z, t: t[0] * z + (t[1] + t[2] * z) / (1 + z * z),
    "relu": lambda z, _: np.maximum(z, 0),
    "silu": lambda z, _: z * (1 + np.tanh(z / 2)) / 2,
    "gelu": lambda z, _: z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z * z * z))) / 2,
    "tanh": lambda z, _: np.tanh(z),
}


def load(path):
    """The model: a dictionary of arrays."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def outputs(model, X):
    """Outputs [N, O] of the network for rows X [N, I]: logits, or standardised targets."""
    x = np.asarray(X, float)
    if x.ndim != 2 or x.shape[1] != len(model["feature_names"]):
        raise ValueError(f"X must be [rows, {len(model['feature_names'])}]; got {x.shape}.")
    if "input_mean" in model:
        x = (x - model["input_mean"]) / model["input_scale"]
    sigma, nodes, m = ACTIVATIONS[str(model["activation"])], [x.astype(np.float32)], 0
    while True:
        read = np.concatenate([nodes[node] for node in model[f"sources_{m}"]], axis=1)
        z = read @ model[f"weight_{m}"] + model[f"bias_{m}"]
        m += 1
        if f"weight_{m}" not in model:
            return z.astype(float)
        with np.errstate(over="ignore"):  # z² of a large z is infinite, and σ(z) then αz
            nodes.append(sigma(z, model.get(f"theta_{m - 1}")))


def predict_proba(model, X):
    """Probabilities [N, classes]."""
    y = outputs(model, X)
    p = np.exp(y - y.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def predict(model, X):
    """The most probable label of each row [N]; of a regression, numbers [N] or [N, O]."""
    y = outputs(model, X)
    if "classes" in model:
        return model["classes"][y.argmax(axis=1)]
    values = y * model["target_scale"] + model["target_mean"]
    return values[:, 0] if model["one_output"] else values
