"""Training: steps, evaluations and growth, in turn."""

from senn.training.fitting import first_state as first_state
from senn.training.fitting import fit as fit
from senn.training.schedule import Schedule as Schedule
from senn.training.state import ResumeError as ResumeError
from senn.training.state import RunState as RunState
from senn.training.state import TrainState as TrainState
from senn.training.step import train_chunk as train_chunk
from senn.training.step import train_large_chunk as train_large_chunk
