"""A callback: note what the units of each addition were worth."""

import senn


class Gains(senn.Callback):
    """Δη′ per unit of every addition, by its step."""

    def __init__(self):
        self.by_step = {}

    def on_addition(self, addition):
        """Units were added."""
        self.by_step[addition.step] = addition.score / addition.units


gains = Gains()
clf = senn.SENNClassifier(callbacks=[gains])  # after clf.fit(X, y) look at gains.by_step
