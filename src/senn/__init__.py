"""Neural networks whose size nobody had to choose: they grow while they train."""

from senn import datasets as datasets
from senn import nn as nn
from senn import optimizers as optimizers
from senn import proposals as proposals
from senn import score as score
from senn.batches import Batch as Batch
from senn.callbacks import Callback as Callback
from senn.estimators import SENNClassifier as SENNClassifier
from senn.estimators import SENNRegressor as SENNRegressor
from senn.estimators import load as load
from senn.expand import add_width as add_width
from senn.expand import grow_capacity as grow_capacity
from senn.expand import insert_layer as insert_layer
from senn.history import History as History
from senn.policy import Policy as Policy
from senn.training import Schedule as Schedule
from senn.training import fit as fit

__version__ = "0.1.0"
