"""A policy: units go into the last hidden layer alone, and layers are never added."""

import senn


class LastLayerOnly(senn.Policy):
    """Places in the last hidden layer; thresholds and budgets are `Policy`'s."""

    def actions(self, network, *, layers_allowed=True):
        """How the network may grow now."""
        last = senn.actions.Widen(len(network.hidden) - 1)
        allowed = super().actions(network, layers_allowed=layers_allowed)
        return tuple(action for action in allowed if action == last)


policy = LastLayerOnly(tau=1.01, max_units=30)
