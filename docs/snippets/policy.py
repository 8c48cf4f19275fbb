"""A policy: units go into the last hidden layer alone, and layers are never added."""

import senn


class LastLayerOnly(senn.Policy):
    """Places in the last hidden layer; thresholds and budgets are `Policy`'s."""

    def locations(self, network, *, layers_allowed=True):
        """Where units may go now."""
        places = super().locations(network, layers_allowed=layers_allowed)
        last = len(network.hidden) - 1
        return tuple(p for p in places if p.kind == "width" and p.position == last)


policy = LastLayerOnly(tau=1.01, max_units=30)
