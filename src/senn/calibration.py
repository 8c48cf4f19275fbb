"""Probabilities of a network that learned smoothed labels: its logits over a temperature. NumPy.

Logits that fit labels smoothed by ε are those of q = (1 − ε) p + ε/K where p is wanted. Taking ε
out again, (q − ε/K)/(1 − ε), trusts a network to be right about probabilities below ε/K, which none
is: some come out as 0. One temperature for all logits (Guo et al., 2017) keeps their order and
every probability above 0, and is part of the last linear map.
"""

import numpy as np

from senn.standalone.numpy_predict import log_softmax

SPREAD = 0.16  # of ln T, as if known before any row was seen
STEPS = np.linspace(-2.0, 1.0, 151)  # ln T


def temperature(
    logits: np.ndarray, codes: np.ndarray, weight: np.ndarray, smoothing: float
) -> float:
    """The T > 0 by which logits [N, K] become those of the classes [N] of rows kept apart.

    The weighted log-loss of softmax(logits / T) summed over rows, and with it a Gaussian prior
    on ln T, are least. The prior's mean is 3 ln(1 − ε), which is its answer for no rows.
    """
    rows = np.arange(len(logits))

    def loss(log_t: float) -> float:
        each = -log_softmax(logits / np.exp(log_t))[rows, codes]
        return float(weight @ each) + 0.5 * ((log_t - usual) / SPREAD) ** 2

    usual = 3 * np.log(1 - smoothing)
    return float(np.exp(usual if not len(rows) else min(STEPS, key=loss)))
