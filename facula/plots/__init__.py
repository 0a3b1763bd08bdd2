"""Pictures: the graph of backward, a model's modules, training curves, images, weights; imported when first used.

Diagrams (`plot_graph`, `plot_model`) are SVG, laid out by Graphviz where its program `dot` is there, else by this
package. The others are figures of matplotlib's (`pip install 'facula[plots]'`). All show themselves in notebooks; none
opens a window.
"""

from typing import TYPE_CHECKING

from facula.alias import getattr_for

if TYPE_CHECKING:
    from .diagram import Picture
    from .figures import make_grid, plot_confusion, plot_gradients, plot_history, plot_images, plot_weights
    from .graph import plot_graph
    from .model import plot_model

__all__ = [
    "Picture", "make_grid", "plot_confusion", "plot_gradients", "plot_graph", "plot_history", "plot_images",
    "plot_model", "plot_weights",
]  # fmt: skip
__getattr__ = getattr_for(
    __name__,
    ("diagram", "dot", "figures", "graph", "layered", "model"),
    {"Picture": "diagram", "plot_graph": "graph", "plot_model": "model"}
    | dict.fromkeys(
        ("make_grid", "plot_confusion", "plot_gradients", "plot_history", "plot_images", "plot_weights"),
        "figures",
    ),
)
