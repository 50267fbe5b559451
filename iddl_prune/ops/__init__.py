"""One product, several kernels: an operator of torch each for linear and convolution, and the kernels by name."""

from iddl_prune.ops.geometry import Geometry
from iddl_prune.ops.kernels import KERNELS
from iddl_prune.ops.library import conv2d, linear

__all__ = ["KERNELS", "Geometry", "conv2d", "linear"]
