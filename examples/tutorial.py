"""
Ten minutes with senn
=====================

A first fit, what it grew to and why, how to keep it small, and how to keep it. The data are
scikit-learn's bundled digits: 1,797 images of 8 × 8 pixels.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import senn

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, stratify=y, random_state=0)

# %%
# A first fit
# -----------
#
# An estimator is made and fitted as in scikit-learn. ``hidden_sizes`` is where it starts, here
# one hidden layer of 4 units, not where it ends. Pixels in [0, 1] are left as they are; for
# tables, whose columns have units of their own, leave ``standardize`` at its default.

clf = senn.SENNClassifier(hidden_sizes=(4,), standardize=False, random_state=0)
clf.fit(X_train, y_train)

print("units per hidden layer:", clf.hidden_sizes_)
print("parameters:", clf.n_parameters_)
print(f"test accuracy: {clf.score(X_test, y_test):.3f}")

# %%
# Most of the time of a first fit on data as small as these is compilation. A second fit on data
# of the same shape does without it.

history = clf.history_
print(f"training    {history.training_seconds:5.1f} s")
print(f"growth      {history.growth_seconds:5.1f} s")
print(f"compilation {history.compile_seconds:5.1f} s")
print(f"{history.steps} steps; {history.stop_reason}")

# %%
# Reading the ledger
# ------------------
#
# Everything that was decided is in ``history_``. An *addition* is one growth of the network. Its
# losses are of the same examples just before and just after it: they are equal, for new units
# disturb nothing. What they are worth shows in the steps after.

columns = ["step", "kind", "units", "score", "stderr", "loss_before", "loss_after", "hidden_sizes"]
history.to_frame("addition")[columns]

# %%
# The reasons are sentences. α asks for a share of all that is still to be gained, τ for a share
# of what the layer's own score is already.

for addition in history.additions:
    print(f"step {addition.step}: {addition.reason}")

# %%
# A *consideration* is one look at one place, also when nothing came of it. These are the last.

for c in history.considerations[-3:]:
    print(f"step {c.step}, {c.kind} {c.position}: {c.score:.2g} ± {c.stderr:.2g}. {c.reason}")

# %%
# An *evaluation* is one look at the validation rows, a tenth of the training rows by default. The
# network of the best one is the one returned.

evaluations = history.to_frame("evaluation")
figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(7, 5))
above.plot(evaluations["step"], evaluations["loss"], label="training")
above.plot(evaluations["step"], evaluations["validation_loss"], label="validation")
above.axvline(history.returned_step, color="grey", linestyle=":", label="returned")
above.set(yscale="log", ylabel="loss (nats)")
above.legend()
units = evaluations["hidden_sizes"].map(sum)
below.step(evaluations["step"], units, where="post")
below.set(xlabel="step", ylabel="hidden units", ylim=(0, None))
figure.tight_layout()

# %%
# Budgets
# -------
#
# Growth ends by itself. To end it sooner, give a budget: ``max_units``, ``max_layers``,
# ``max_parameters`` or ``max_seconds``. Sizes never exceed theirs.

small = senn.SENNClassifier((4,), standardize=False, max_parameters=900, random_state=0)
small.fit(X_train, y_train)
print(small.hidden_sizes_, small.n_parameters_, f"{small.score(X_test, y_test):.3f}")

# %%
# Saving and loading
# ------------------
#
# One file, without code in it: it is read without running any. It holds the network, the labels,
# the scaling of the inputs and the parameters of the estimator, but not the ledger, which
# ``history_.to_json_lines(path)`` writes.

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "digits.senn"
    clf.save(path)
    print(f"{path.stat().st_size:,} bytes")
    loaded = senn.load(path)

print(type(loaded).__name__, loaded.hidden_sizes_)
print("same predictions:", (loaded.predict(X_test) == clf.predict(X_test)).all())

# %%
# Regression is the same with :class:`senn.SENNRegressor`, whose score is R². Where to go next: a
# :doc:`table with missing values and text <tabular>`, or :doc:`how growth decides <growth>`.
