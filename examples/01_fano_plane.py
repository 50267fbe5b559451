"""
The Fano plane
==============

The smallest design that is not obvious: seven points, seven blocks of three points,
and every two points lie together in exactly one block.
"""

from matplotlib import pyplot

import bibdlib
from bibdlib.plot import draw_plane

fano = bibdlib.construct(7, 3, 1)
print(fano)
print(fano.blocks)

# %%
# Drawn as everybody draws it, six blocks are straight lines and the seventh is the circle.
# Pick any two points: one line, and only one, joins them.

figure, axes = pyplot.subplots(figsize=(5, 5))
draw_plane(fano, ax=axes)
pyplot.show()

# %%
# The library does not take anybody's word for that. It counts all 21 pairs:

print(bibdlib.verify(fano))

# %%
# Exchange one point of one block and the count says which pair gives the lie away.

blocks = fano.blocks.copy()
blocks[0, 2] = next(x for x in range(7) if x not in blocks[0])
print(bibdlib.verify(bibdlib.Design(fano.parameters, blocks)).reason)

# %%
# Other designs are drawn with their points on a circle. These are the affine plane of order 3
# (9 points, 12 lines of 3) and the projective plane of order 3 (13 points, 13 lines of 4).

figure, axes = pyplot.subplots(1, 2, figsize=(10, 5), layout="constrained")
for ax, parameters in zip(axes, [(9, 3, 1), (13, 4, 1)], strict=True):
    draw_plane(bibdlib.construct(*parameters), ax=ax)
    ax.set_title(str(parameters))
pyplot.show()
