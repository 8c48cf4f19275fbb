from . import curvature as curvature
from . import datasets as datasets
from . import losses as losses
from . import nn as nn
from . import optimizers as optimizers
from . import proposals as proposals
from . import score as score
from .batches import Batch as Batch
from .callbacks import Callback as Callback
from .estimators import SENNClassifier as SENNClassifier
from .estimators import SENNRegressor as SENNRegressor
from .estimators import load as load
from .expand import add_outputs as add_outputs
from .expand import add_width as add_width
from .expand import grow_capacity as grow_capacity
from .expand import insert_layer as insert_layer
from .history import History as History
from .policy import Policy as Policy
from .training import Schedule as Schedule
from .training import fit as fit

__version__: str
