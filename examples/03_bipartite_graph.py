"""
A design as a bipartite graph
=============================

Put the points on one side and the blocks on the other, and draw an edge where a point lies on a block.
This is how a layer of a neural network sees a design: inputs on the left, outputs on the right.
"""

import networkx
from matplotlib import pyplot

import bibdlib
from bibdlib.plot import draw_bipartite, to_networkx

figure, axes = pyplot.subplots(1, 2, figsize=(10, 6), layout="constrained")
for ax, parameters in zip(axes, [(7, 3, 1), (9, 3, 1)], strict=True):
    draw_bipartite(bibdlib.construct(*parameters), ax=ax)
    ax.set_title(str(parameters))
pyplot.show()

# %%
# With networkx the graph can be asked whatever graphs are asked.
# Where λ = 1 no two blocks share two points, so the shortest circuit has six edges;
# and every two points are two steps apart, by way of the block that joins them.

graph = to_networkx(bibdlib.construct(13, 4, 1))
distances = dict(networkx.all_pairs_shortest_path_length(graph))
print("girth", networkx.girth(graph))
print("diameter", networkx.diameter(graph))
print("steps between two points", {distances["point", x]["point", y] for x in range(13) for y in range(x)})

# %%
# The same graph with every node where springs would pull it: no point is special, and none is left out.

places = networkx.kamada_kawai_layout(graph)
colours = ["tab:blue" if kind == "point" else "tab:orange" for kind, _ in graph]
figure, axes = pyplot.subplots(figsize=(6, 6))
networkx.draw_networkx(
    graph,
    places,
    ax=axes,
    node_color=colours,
    edge_color="lightgrey",
    labels={node: node[1] for node in graph},
    font_color="white",
    font_size=9,
)
axes.set_axis_off()
pyplot.show()
