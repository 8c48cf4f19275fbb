"""A callback: note what the units of each addition were worth."""

from sklearn.datasets import make_moons

import senn


class Gains(senn.Callback):
    """Δη′ per unit of every addition, by its step."""

    def __init__(self):
        self.by_step = {}

    def on_addition(self, addition):
        """Units were added."""
        self.by_step[addition.step] = addition.score / addition.units


gains = Gains()
X, y = make_moons(400, noise=0.3, random_state=0)
clf = senn.SENNClassifier((2,), max_iter=40, callbacks=[gains], random_state=0)
clf.fit(X, y)
print(gains.by_step)
