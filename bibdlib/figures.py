"""Figures made of points, and how a permutation group acts on the images of one: on the cosets of what fixes it."""

from __future__ import annotations

import ast

import numpy as np
import numpy.typing as npt

from bibdlib.errors import InvalidParameters

__all__ = ["action_on_images", "figure"]

Figure = int | tuple["Figure", ...] | frozenset["Figure"]


def figure(text: str) -> Figure:
    """A point, or a tuple or set of figures, written as in Python: (0, 1), {0, 1}, (0, {1, 2}).

    Raises
    ------
    InvalidParameters
        If the text is of no such form.
    """
    try:
        return _figure(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError) as error:
        raise InvalidParameters(f"A figure is a point, tuple or set such as (0,{{1,2}}), not {text}.") from error


def _figure(node: ast.expr) -> Figure:
    match node:
        case ast.Constant(value=int(point)):
            return point
        case ast.Tuple(elts=parts):
            return tuple(_figure(part) for part in parts)
        case ast.Set(elts=parts):
            return frozenset(_figure(part) for part in parts)
    raise ValueError(node)


def _image(of: Figure, permutation: list[int]) -> Figure:
    if isinstance(of, int):
        return permutation[of]
    return type(of)(_image(part, permutation) for part in of)


def action_on_images(generators: npt.NDArray[np.int64], of: Figure) -> npt.NDArray[np.int64]:
    """What permutations of 0..v-1, shape (number, v), do to the n images of a figure, shape (number, n).

    The figure is number 0, the others follow as they are met.

    Raises
    ------
    InvalidParameters
        If the figure has a point that is not among 0..v-1.
    """
    rows = generators.tolist()
    met: dict[Figure, int] = {of: 0}
    images: list[list[int]] = []
    try:
        for number, current in enumerate(met_in_order := [of]):
            images.append([])
            for row in rows:
                image = _image(current, row)
                if image not in met:
                    met[image] = len(met)
                    met_in_order.append(image)
                images[number].append(met[image])
    except IndexError as error:
        raise InvalidParameters(f"A figure's points must be among 0..{generators.shape[1] - 1}: {of}.") from error
    return np.array(images, dtype=np.int64).T
