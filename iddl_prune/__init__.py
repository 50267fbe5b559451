"""Dense networks made sparse: layers connected by a balanced incomplete block design.

>>> from iddl_prune import plan, prune_
>>> decided = plan(model, example_inputs, density=0.125)   # reads, changes nothing
>>> prune_(model, decided)                                  # changes, decides nothing
"""

from iddl_prune.convert import pattern_layers, prune_
from iddl_prune.errors import InvalidArgument, PruneError
from iddl_prune.layers import BIBDConv2d, BIBDLinear
from iddl_prune.pattern import SparsePattern
from iddl_prune.plan import LayerPlan, Plan, plan

__all__ = [
    "BIBDConv2d",
    "BIBDLinear",
    "InvalidArgument",
    "LayerPlan",
    "Plan",
    "PruneError",
    "SparsePattern",
    "pattern_layers",
    "plan",
    "prune_",
]
