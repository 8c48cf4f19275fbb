"""Optimisers whose state survives growth."""

from senn.optimizers.adapter import OPTIMIZERS as OPTIMIZERS
from senn.optimizers.adapter import Optax as Optax
from senn.optimizers.adapter import make_optimizer as make_optimizer
from senn.optimizers.base import AbstractOptimizer as AbstractOptimizer
from senn.optimizers.base import StepInfo as StepInfo
from senn.optimizers.kfac import KFAC as KFAC
from senn.optimizers.natural_gradient import NaturalGradient as NaturalGradient
