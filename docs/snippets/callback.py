"""A callback: keep the running best of what one added unit has brought."""

from sklearn.datasets import make_moons

import senn


class Gains(senn.Callback):
    """What each addition gained an added unit, in units of the score."""

    def __init__(self):
        self.by_step = {}

    def on_addition(self, addition):
        """Units were added."""
        self.by_step[addition.step] = addition.score / addition.units


gains = Gains()
X, y = make_moons(400, noise=0.3, random_state=0)
senn.SENNClassifier((2,), max_iter=40, max_units=6, callbacks=[gains], random_state=0).fit(X, y)
print(gains.by_step)
