"""What all sections of the report read."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from senn.columns import input_names
from senn.columns.encoder import columns_from
from senn.lineage import Lineage, lineage, lineage_of
from senn.models import read_model
from senn.nn.connections import n_inputs
from senn.nn.convolution import ConvSite
from senn.nn.tapped import AbstractTapped
from senn.policy import Policy
from senn.rescaling import Inputs, names_of
from senn.runs import Run

WORDS = {"accuracy": "accuracy", "r2": "R²"}
IMAGES = {"digits": (8, 8), "mnist": (28, 28), "fashion-mnist": (28, 28)}


@dataclass(frozen=True)
class Story:
    """A run, its network, and who is who in it."""

    run: Run
    network: AbstractTapped
    features: tuple[str, ...]
    outputs: tuple[str, ...]
    born_known: bool  # whether the network's file says when its units were born

    @cached_property
    def lineage(self) -> Lineage:
        """Which addition brought each unit of the network that was returned."""
        if self.born_known:
            return lineage_of(self.network, self.run.history)
        return lineage(self.run.history, self.network.hidden_sizes)

    @cached_property
    def grown_until(self) -> int:
        """The step of the last addition."""
        return max((a.step for a in self.run.history.additions), default=0)

    @property
    def members(self) -> int:
        """Networks that became this one; each had a growth of its own."""
        return self.run.summary.get("n_estimators", 1)

    @property
    def alpha(self) -> float:
        """The stopping criterion of the run."""
        return self.run.settings.get("alpha") or Policy.alpha

    @property
    def score_word(self) -> str:
        """What the test score is called."""
        return WORDS.get(self.run.summary.get("metric", ""), "score")

    @property
    def has_channels(self) -> bool:
        """Whether it takes images with channels, of which convolutions of ours read patches."""
        maps = self.network.graph.maps
        return bool(self.network.grid) and any(isinstance(site, ConvSite) for site in maps)

    @property
    def image_shape(self) -> tuple[int, int] | None:
        """Height and width, if the inputs are the pixels of an image."""
        if self.has_channels:
            return self.network.grid  # pyright: ignore[reportReturnType]
        shape = IMAGES.get(str(self.run.settings.get("data")).lower())
        return shape if shape and shape[0] * shape[1] == self.network.in_size else None

    @cached_property
    def clock(self) -> tuple[np.ndarray, np.ndarray]:
        """Steps, and the seconds since the start at which they were done, as the ledger has it."""
        records = self.run.history.records
        known = {0: 0.0} | {r.step: r.seconds for r in records if hasattr(r, "seconds")}
        steps = sorted(known)
        return np.array(steps), np.array([known[s] for s in steps])


def read_story(run: Run, like: AbstractTapped | None = None) -> Story:
    """The story of a run; a `senn.models.ModelFileError` if its model cannot be read.

    A network of another kind than our own is read into one `like` it, of any sizes.
    """
    network, header, arrays = read_model(run.model, like)
    names: Sequence[object] = header.get("classes") or (run.test.names if run.test else ())
    if len(names) != network.out_size:
        names = [f"output {o}" for o in range(network.out_size)]
    features = header.get("feature_names") or [f"input {i}" for i in range(n_inputs(network))]
    if "columns" in header:  # of which some become several inputs
        features = input_names(columns_from(header["columns"], features, header["single"]))
    if "input_column" in arrays:
        features = names_of(Inputs(*(arrays[f"input_{name}"] for name in Inputs._fields)), features)
    born_known = header.get("born") is not None or network.architecture is None
    return Story(run, network, tuple(map(str, features)), tuple(map(str, names)), born_known)
