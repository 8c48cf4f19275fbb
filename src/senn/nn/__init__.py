"""Networks with room to grow."""

from senn.nn.activation import ACTIVATIONS as ACTIVATIONS
from senn.nn.activation import AbstractActivation as AbstractActivation
from senn.nn.activation import AbstractFixed as AbstractFixed
from senn.nn.activation import register as register
from senn.nn.dense import Dense as Dense
from senn.nn.network import MLP as MLP
from senn.nn.network import Hidden as Hidden
from senn.nn.rational import rational as rational
from senn.nn.rational import rational_features as rational_features
