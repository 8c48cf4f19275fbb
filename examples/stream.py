"""
Digits that arrive class by class
=================================

A classifier that is shown two or three digits at a time, and never the old ones again: what
does it add, and what does it forget?

``partial_fit`` goes on training and growing on whatever it is given. Digits that it has never
seen get an output of their own, beside those that are there; the others stay as they are, bit
for bit. What changes them is the training that follows. Beside it, the same stream with a few of
the old rows mixed in.
"""

# %%
# Two or three new digits in every part, and a test set of all ten. Nothing is downloaded.

import sys

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import senn

QUICK = "--quick" in sys.argv
PARTS = [(0, 1), (2, 3)] if QUICK else [(0, 1, 2), (3, 4), (5, 6), (7, 8, 9)]
PASSES = 2 if QUICK else 8
KEPT = 20  # old rows a digit that the second classifier is shown again

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, test_size=0.25, stratify=y, random_state=0
)


# %%
# One pass over a part is one call. Units are considered every 30 steps, whatever the calls.


def learn(classifier, X, y):
    """A few passes over one part of the stream."""
    for _ in range(PASSES):
        classifier.partial_fit(X, y)


def report(name, classifier, digits):
    """Accuracy on the digits seen so far, for each part of them; the size beside it."""
    shares = []
    for part in PARTS:
        rows = np.isin(y_test, part)
        known = set(part) <= set(digits)
        shares.append(
            f"{classifier.score(X_test[rows], y_test[rows]):8.0%}" if known else "       –"
        )
    size = " + ".join(map(str, classifier.hidden_sizes_))
    print(f"{name:<14}{size:>8} units {classifier.n_parameters_:>6,} parameters ", *shares)


# %%
# Both start with four units, and see the digits in the same order.

settings = {"hidden_sizes": (4,), "max_units": 60, "standardize": False, "random_state": 0}
policy = senn.Policy(depth=False, every=30)
forgetful, reminded = (
    senn.SENNClassifier(**settings, policy=policy, batch_size=32) for _ in range(2)
)

print(" " * 46, *("+".join(map(str, part)).rjust(8) for part in PARTS))
old = np.array([], int)
for number, part in enumerate(PARTS):
    rows = np.flatnonzero(np.isin(y_train, part))
    learn(forgetful, X_train[rows], y_train[rows])
    mixed = np.concatenate([rows, old])
    learn(reminded, X_train[mixed], y_train[mixed])
    old = np.concatenate([old, *(rows[y_train[rows] == digit][:KEPT] for digit in part)])
    seen = [digit for known in PARTS[: number + 1] for digit in known]
    report("new rows alone", forgetful, seen)
    report("and some old", reminded, seen)

# %%
# The first one forgets: nothing in the new rows speaks for the old digits, and training lowers
# their outputs on everything. Growing does not help against that, for units are added where the
# rows at hand ask for them. Twenty rows a digit, shown again, keep most of what was learned.
#
# The ledger has every addition, of all calls.

for addition in reminded.history_.additions:
    print(f"step {addition.step:>4}: {addition.hidden_sizes} units, {addition.reason}")
