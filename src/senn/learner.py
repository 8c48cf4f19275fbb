"""SENN as an object that learns and predicts: `senn.estimators` without scikit-learn.

Predictions are made by NumPy (`senn.prediction`). All that trains is in `senn.learning`, which
the methods import that train: it loads JAX, and who only predicts does without. scikit-learn,
which takes a second to import, is asked only by what few fits need.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

from senn.inputs import TableInputs
from senn.labels import written_labels
from senn.persistence import Persistent, ScalerAttribute, scale_arrays
from senn.prediction import ClassPredictor, NumberPredictor, Predictor
from senn.preparation import MIN_ROWS, Rows, refuse_huge

Own = TypeVar("Own")  # the type of the object itself

# What both estimators say of their parameters.
PARAMETERS = """Parameters
    ----------
    hidden_sizes : tuple of int, or int, default=(10,)
        Units per hidden layer to start with, fewer if budgets allow no more; `()` starts from a
        linear model.
    network : {"mlp", "conv"}, default="mlp"
        A perceptron for rows X [N, I], or convolutions for images X [N, H, W] or [N, H, W, C],
        bytes or floats, which get the mean and the variance of each channel as their unit unless
        `standardize` is False.
    channels : tuple of int, default=(8, 8, 8)
        Of a convolutional network the channels of every stage to start with; between stages the
        largest of 2 by 2 comes through. `hidden_sizes` is for perceptrons.
    augment : str or callable, default=None
        How images are changed at random for the steps of training, and for nothing else: "flip"
        mirrors half of them left to right, "shift" moves them by an eighth of height and width at
        most and "shift=2" by two pixels, "flip,shift" does both. A function gets images
        [N, H, W, C], as the network reads them, and a NumPy generator.
    activation : {"auto", "rational", "relu", "silu", "gelu", "tanh"}, default="auto"
        Activation of the hidden units; "auto" is "rational", of convolutional networks "silu".
    max_units, max_layers, max_parameters, max_seconds : default=None
        Budgets: hidden units and layers in all, active parameters, and seconds of training.
        None is without limit; growth then ends when nothing more is worth adding.
    optimizer : str, `senn.optimizers` object or optax transformation, default="kfac"
        How parameters are trained; "natural_gradient" is exactly the paper's, at a constant rate.
        "kfac" chooses between two priors at the end, by the rows kept apart, if it learns classes
        from columns prepared robustly, without `max_seconds`.
    metric : {"fisher", "euclidean"}, default=None
        Output metric of the natural gradient. None is the paper's "euclidean" for
        "natural_gradient", else "fisher".
    proposer : `senn.proposals` object, default=None
        The search for new units; None is `Projection()`, of images `Random(candidates=64)`.
    policy : `senn.Policy`, default=None
        Thresholds and cadence of growth; the budgets above and `n_iter_no_change` overrule its
        own. None is `senn.tables.POLICY` for inputs prepared robustly, else `Policy()`.
    n_estimators : int, default=1
        Networks that `fit` trains, each from a start and with rows kept apart of its own. They
        become one, whose outputs are the means of theirs. Budgets of size hold for each,
        `max_seconds` for all.
    batch_size : int or "auto", default="auto"
        Examples per step, fewer if there are fewer; "auto" is 512, of images 128.
    max_iter : int, default=None
        Most passes over the data; None leaves it to `n_iter_no_change`.
    n_iter_no_change : int, default=None
        Evaluations without a better loss after which growth ends, if it has not before; then the
        learning rate is annealed, and training stops. None is the policy's (10).
    tol : float, default=1e-3
        Relative improvement of the loss that counts as better.
    validation_fraction : float, default=0.1
        Share of the rows kept apart for early stopping; 0 stops by the training loss. With
        fewer than 100 rows in all none are kept apart.
    refit_steps : int, default=None
        Steps that `fit` takes at the end on all rows, those kept apart with them, at a rate that
        falls to zero; none if training was told when to end. None is 20 for classes and 60 for
        numbers if columns are prepared robustly, else 0.
    standardize : {"robust", True, False}, default="robust"
        How the columns of X are prepared. "robust" is for tables: less the median, over the
        spread of the quartiles, bounded smoothly at ± 3, and beside them the codes that `bins`
        asks for; `policy`, `label_smoothing` and `refit_steps` then have other defaults, too.
        True shifts and scales to mean 0 and variance 1 (zero variance aside). False leaves inputs
        as they are: say so for images whose pixels are in [0, 1]. `partial_fit` takes "robust" as
        True.
    bins : int, default=None
        Intervals between quantiles that each column of more than two values is coded by, if
        prepared robustly: a number for each says how far a value has come through it. None is 8
        for classes and 16 for numbers; 0 is none. There are fewer where they would make more
        than 512 inputs, or more than one for six rows.
    categorical_features : "from_dtype", names, positions, a mask or None, default="from_dtype"
        Columns of categories, besides those of pandas' and polars' types of categories and of
        text that says neither numbers nor dates. None takes no column for one, and refuses
        such text.
    devices : int, default=None
        Devices of JAX that share the rows of every step, in training alone; None is one.
    verbose : int, default=0
        1 shows progress: a live display on a terminal, lines elsewhere.
    callbacks : sequence of `senn.Callback`, one, or None, default=()
        Told what happens during training.
    warm_start : bool, default=False
        Let `fit` start from the network of the `fit` before, grown as it is, with its scaling of
        inputs and targets; classes that are new are added.
    random_state : int, RandomState or None, default=None
        Seed of the start, the split, the order of the data and the search."""


@dataclass(eq=False, repr=False)
class Learner(TableInputs, Predictor, Persistent):
    """What classifier and regressor share."""

    hidden_sizes: Any = (10,)
    _: KW_ONLY
    network: str = "mlp"
    channels: Any = (8, 8, 8)
    augment: Any = None
    activation: str = "auto"
    max_units: int | None = None
    max_layers: int | None = None
    max_parameters: int | None = None
    max_seconds: float | None = None
    optimizer: Any = "kfac"
    metric: str | None = None
    proposer: Any = None
    policy: Any = None
    n_estimators: int = 1
    batch_size: Any = "auto"
    max_iter: int | None = None
    n_iter_no_change: int | None = None
    tol: float = 1e-3
    validation_fraction: float = 0.1
    refit_steps: Any = None
    standardize: bool | str = "robust"
    bins: int | None = None
    categorical_features: Any = "from_dtype"
    devices: int | None = None
    verbose: int = 0
    callbacks: Any = ()
    warm_start: bool = False
    random_state: Any = None

    @property
    def hidden_sizes_(self) -> tuple[int, ...]:
        """Units per hidden layer, as grown."""
        self._check_fitted()
        return self._plain.hidden_sizes

    @property
    def n_parameters_(self) -> int:
        """Active parameters of the network."""
        self._check_fitted()
        return self._plain.n_parameters

    @property
    def n_iter_(self) -> int:
        """Passes over the data, the last perhaps in part; of `partial_fit` the calls."""
        self._check_fitted()
        if self._online is not None:
            return self._online.calls
        return int(np.ceil(max((e.epoch for e in self.history_.evaluations), default=0)))

    # --- training -------------------------------------------------------------------------

    def resume(self: Own, checkpoint: Any, X: Any, y: Any, sample_weight: Any = None) -> Own:
        """Go on with a run of `fit` that was ended early, and end as it would have ended.

        `senn.runs.RunWriter`, as one of the `callbacks`, keeps checkpoints of a run, and
        `senn.runs.last_checkpoint` reads them. Parameters and data must be those of the run,
        with a whole number as `random_state`; a `senn.training.ResumeError` says so of other data.
        """
        from senn import learning  # loads JAX

        return learning.fit_anew(self, X, y, sample_weight, checkpoint)

    def _rows(self, X: Any, sample_weight: Any, *, first: bool, at_once: bool = True) -> Rows:
        """Rows to learn from: the first that this estimator sees, or such as it knows.

        `at_once` says that there will be no others.
        """
        rows = {"min_rows": MIN_ROWS if at_once else 1, "at_once": at_once}
        x = self._checked(X, first=first, sample_weight=sample_weight, **rows)
        if not self.standardize:
            refuse_huge(x, self._columns.input_names if self._columns else self.feature_names_)
        return Rows.of(x, sample_weight)

    # --- prediction -----------------------------------------------------------------------

    def _outputs(self, X: Any) -> np.ndarray:
        self._check_fitted()
        return super()._outputs(X)


@dataclass(eq=False, repr=False, kw_only=True)
class ClassLearner(ClassPredictor, Learner):
    """Learns labels; a `SENNClassifier` is one."""

    kind: ClassVar[str] = "SENNClassifier"

    class_weight: Mapping[Any, float] | str | None = None
    label_smoothing: float | None = None

    def fit(self: Own, X: Any, y: Any, sample_weight: Any = None) -> Own:
        """Train on X [N, I] and labels y [N] of any kind. Ctrl-C ends it early, fitted.

        y may be an indicator matrix [N, L] of 0 and 1, where rows have any number of L > 1 labels.
        Rows whose weight in `sample_weight` [N] is 0 are left out.
        """
        from senn import learning  # loads JAX

        return learning.fit_anew(self, X, y, sample_weight)

    def partial_fit(
        self: Own, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> Own:
        """Go on training, and growing, with one pass over X [N, I] and labels y [N] or [N, L].

        Optimiser, running mean and the cadence of growth are as the call before left them; after
        `fit` or `senn.load` the optimiser starts anew. Classes never seen before are welcome in
        any call, and may be announced as `classes`; the network gets an output for each, and
        those of the others stay as they are, bit for bit. To begin with, no row at hand gives a
        new class a probability above 1 / (rows seen before + 1): nothing speaks for it yet, and
        natural gradient does not take longer for starting low.

        Inputs that are standardised get the scale of all rows so far whenever their number has
        doubled, and the network is changed so that its predictions stay what they were; those
        that `fit` prepared robustly stay as they are. Fewer than 32 rows get some of those seen
        last beside them. Weights are taken as they are. `max_iter`,
        `max_seconds`, `n_iter_no_change`, `tol` and `validation_fraction` are for `fit` alone.
        """
        from senn import learning  # loads JAX

        return learning.go_on_with_labels(self, X, y, classes, sample_weight)

    def _extra(self) -> dict[str, Any]:
        return {"multi_label": True} if self._multi_label else written_labels(self.classes_)


class NumberLearner(NumberPredictor, Learner):
    """Learns numbers; a `SENNRegressor` is one."""

    kind: ClassVar[str] = "SENNRegressor"

    target_scaler_ = ScalerAttribute("target")

    def fit(self: Own, X: Any, y: Any, sample_weight: Any = None) -> Own:
        """Train on X [N, I] and numbers y [N] or [N, O]. Ctrl-C ends it early, fitted.

        Rows whose weight in `sample_weight` [N] is 0 are left out.
        """
        from senn import learning  # loads JAX

        return learning.fit_anew(self, X, y, sample_weight)

    def partial_fit(self: Own, X: Any, y: Any, sample_weight: Any = None) -> Own:
        """Go on training, and growing, with one pass over X [N, I] and numbers y [N] or [N, O].

        Optimiser, running mean and the cadence of growth are as the call before left them; after
        `fit` or `senn.load` the optimiser starts anew. The scale of targets is that of the first
        call, whose rows should be like those to come; inputs that are standardised get that of
        all rows so far whenever their number has doubled, and predictions stay what they were.
        Fewer than 32 rows get some of those seen last beside them. Weights are taken as they are.
        `max_iter`, `max_seconds`, `n_iter_no_change`, `tol` and `validation_fraction` are for
        `fit` alone.
        """
        from senn import learning  # loads JAX

        return learning.go_on_with_numbers(self, X, y, sample_weight)

    def _extra(self) -> dict[str, Any]:
        return {"one_output": self._one_output}

    def _extra_arrays(self) -> dict[str, np.ndarray]:
        return scale_arrays("target", self._target_scale)
