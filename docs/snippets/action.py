"""An action: units come with no slot to spare, for networks whose memory is short."""

import senn


class Snug(senn.actions.Widen):
    """More units in a hidden space, in as many slots; each addition compiles anew."""

    def apply(self, network, state, weight, bias, theta, limit=None, born=None):
        """The network, and what an optimiser keeps beside it, with the units."""
        needed = network.hidden_sizes[self.position] + len(bias)
        network, state = (
            senn.grow_capacity(tree, self.position, needed) for tree in (network, state)
        )
        return senn.add_width(network, self.position, weight, bias, theta, born=born), state


class SnugPolicy(senn.Policy):
    """The places of `Policy`, where units come as `Snug` has them."""

    def actions(self, network, *, layers_allowed=True):
        """How the network may grow now."""
        allowed = super().actions(network, layers_allowed=layers_allowed)
        return tuple(
            action if action.inserts else Snug(action.position, action.name) for action in allowed
        )
