"""Networks with room to grow."""

from senn.nn.activation import ACTIVATIONS as ACTIVATIONS
from senn.nn.activation import AbstractActivation as AbstractActivation
from senn.nn.activation import AbstractFixed as AbstractFixed
from senn.nn.activation import register as register
from senn.nn.dense import Dense as Dense
from senn.nn.edits import arrange as arrange
from senn.nn.edits import erase as erase
from senn.nn.edits import resize as resize
from senn.nn.edits import write as write
from senn.nn.graph import Graph as Graph
from senn.nn.network import MLP as MLP
from senn.nn.network import Hidden as Hidden
from senn.nn.rational import rational as rational
from senn.nn.rational import rational_features as rational_features
from senn.nn.sites import AbstractMap as AbstractMap
from senn.nn.sites import AbstractSite as AbstractSite
from senn.nn.sites import DenseSite as DenseSite
from senn.nn.sites import UnitwiseSite as UnitwiseSite
from senn.nn.spaces import Port as Port
from senn.nn.spaces import Space as Space
from senn.nn.spaces import first_units as first_units
from senn.nn.tapped import AbstractLayered as AbstractLayered
from senn.nn.tapped import AbstractTapped as AbstractTapped
from senn.nn.tapped import Taps as Taps
