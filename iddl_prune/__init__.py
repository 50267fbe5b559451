"""Dense networks made sparse: layers connected by a balanced incomplete block design.

>>> from iddl_prune import compress
>>> sparse = compress(model, example_inputs, density=0.125, calibration=inputs)

which is, in steps of its own:

>>> decided = plan(model, example_inputs, density=0.125, calibration=inputs)  # reads, changes nothing
>>> sparse = prune_(copy.deepcopy(model), decided)                            # changes, decides nothing
>>> repair_(sparse, model, inputs)                                            # re-solves the kept weights
"""

from bibdlib.extras import load

load("torch", extra="prune")

from iddl_prune.allocation import Override
from iddl_prune.compress import compress
from iddl_prune.convert import pattern_layers, prune_, to_dense
from iddl_prune.errors import InvalidArgument, PruneError
from iddl_prune.layer_plan import LayerPlan
from iddl_prune.layers import BIBDConv2d, BIBDLinear
from iddl_prune.optimize import optimize_
from iddl_prune.pattern import SparsePattern
from iddl_prune.plan import Plan, plan
from iddl_prune.pruner import BIBDPruner
from iddl_prune.recover import repair_

__all__ = [
    "BIBDConv2d",
    "BIBDLinear",
    "BIBDPruner",
    "InvalidArgument",
    "LayerPlan",
    "Override",
    "Plan",
    "PruneError",
    "SparsePattern",
    "compress",
    "optimize_",
    "pattern_layers",
    "plan",
    "prune_",
    "repair_",
    "to_dense",
]
