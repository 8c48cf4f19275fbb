"""Data as arrays: named data sets, table files, and checks that say in one sentence what is wrong.

Everything here ends in NumPy arrays; nothing here knows a network.
"""

from senn.datasets.columns import Kind as Kind
from senn.datasets.dataset import Dataset as Dataset
from senn.datasets.features import Features as Features
from senn.datasets.features import check_features as check_features
from senn.datasets.image_folder import read_images as read_images
from senn.datasets.loading import NAMES as NAMES
from senn.datasets.loading import SUFFIXES as SUFFIXES
from senn.datasets.loading import load as load
from senn.datasets.splitting import MIN_ROWS as MIN_ROWS
from senn.datasets.splitting import Rows as Rows
from senn.datasets.splitting import split_rows as split_rows
from senn.datasets.targets import MAX_INTEGER_CLASSES as MAX_INTEGER_CLASSES
from senn.datasets.targets import Targets as Targets
from senn.datasets.targets import Task as Task
from senn.datasets.targets import check_targets as check_targets
from senn.datasets.targets import infer_task as infer_task
from senn.readers import DataError as DataError
from senn.readers import DataTypeError as DataTypeError
from senn.readers import read_idx as read_idx
