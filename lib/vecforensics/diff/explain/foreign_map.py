"""A map from expected to held vectors, learnt from some rows and asked about others.

Where in its neighbourhood does the map say that a row lies, and where does it lie? Neighbourhoods are subtracted on both sides,
since that a row lies in the right topic would say little where there are few of them.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Judged", "Map", "cosines", "most_similar", "spread"]

_Floats = npt.NDArray[np.float32]
_Rows = npt.NDArray[np.int64]

# Rows that one map is learnt from.
_ANCHORS: Final = 384
# Below the variance within a topic (0.04 where spread and distance of topics are as 1 to 10), or it would be smoothed away.
_RIDGE: Final = 0.01
_NEIGHBOURS: Final = 12


class Judged(NamedTuple):
    """What a map says of rows (k,): the cosine of where each is and where the map puts it, both from the centre of its
    neighbourhood; and how similar each is to the anchor nearest to it, in parts of what is expected of it. Noise can lie in the
    right direction by chance, but it lies far away from where the group is."""

    agreement: _Floats
    closeness: _Floats


class Map:
    """A linear map from expected to held vectors of length one, learnt from anchors (s, d), seen within neighbourhoods of them.

    A held vector counts as far as the anchors' held vectors span it: with fewer anchors than dimensions the map says nothing
    about the rest.
    """

    def __init__(self, one: _Floats, other: _Floats) -> None:
        self._anchors, self._held = one, other
        self._means = one.mean(axis=0), other.mean(axis=0)
        first, second = (
            (space - mean).astype(np.float64) for space, mean in zip((one, other), self._means, strict=True)
        )
        ridge = _RIDGE * np.eye(len(one))
        inverse = np.linalg.inv(first @ first.T + ridge)
        weights = inverse @ second
        self._map = (first.T @ weights).astype(np.float32)
        # Where an anchor would lie by the map from all the others: its residual, divided as in leave-one-out regression.
        self._without = (second - weights / inverse.diagonal()[:, None]).astype(np.float32)
        self._span = (second.T @ np.linalg.solve(second @ second.T + ridge, second)).astype(np.float32)
        # A neighbourhood is that of an anchor: the nearest others, none of another topic while there are some of its own.
        similar = one @ one.T
        near = most_similar(similar, _NEIGHBOURS)
        weight = np.take_along_axis(similar, near, axis=1)
        weight = (weight >= (weight[:, 1:2] + similar.mean(axis=1, keepdims=True)) / 2).astype(np.float32)
        weight[:, 0] = 1
        weight /= weight.sum(axis=1, keepdims=True)
        self._centres = tuple(
            np.einsum("sn,snd->sd", weight, space[near])
            for space in (self._mapped(one), self._spanned(other), one, other)
        )

    def _mapped(self, one: _Floats) -> _Floats:
        mapped: _Floats = (one - self._means[0]) @ self._map
        return mapped

    def _spanned(self, other: _Floats) -> _Floats:
        spanned: _Floats = (other - self._means[1]) @ self._span
        return spanned

    def _place(self, one: _Floats) -> _Rows:
        nearest: _Rows = (one @ self._anchors.T).argmax(axis=1)
        return nearest

    def judge(self, one: _Floats, other: _Floats) -> Judged:
        """What the map says of rows (k, d) that it was not learnt from."""
        similar = one @ self._anchors.T
        place = similar.argmax(axis=1)
        agreement = cosines(
            self._mapped(one) - self._centres[0][place], self._spanned(other) - self._centres[1][place]
        )
        wanted = np.take_along_axis(similar, place[:, None], axis=1)[:, 0]
        there = (other @ self._held.T).max(axis=1)
        # Where no anchor is expected to be near, nothing is asked.
        asked = wanted > 0.01
        return Judged(agreement, np.where(asked, there / np.maximum(wanted, np.float32(0.01)), np.float32(1)))

    def of_anchors(self) -> _Floats:
        """The agreement of the anchors, each by the map from all the others."""
        return cosines(self._without - self._centres[0], self._spanned(self._held) - self._centres[1])

    def sameness(self, one: _Floats, other: _Floats) -> _Floats:
        """The agreement without a map: a row that changed in its own space lies where it was expected, more or less."""
        place = self._place(one)
        return cosines(one - self._centres[2][place], other - self._centres[3][place])

    def pairings(self, one: _Floats, other: _Floats) -> _Floats:
        """(k, k): the agreement of each held row (down) with each expected one (across)."""
        place = self._place(one)
        mapped = self._mapped(one) - self._centres[0][place]
        mapped /= np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), 1e-9)
        held, centre = self._spanned(other), self._centres[1][place]
        along = held @ mapped.T - (mapped * centre).sum(axis=1)
        length = (held**2).sum(axis=1)[:, None] - 2 * held @ centre.T + (centre**2).sum(axis=1)
        paired: _Floats = along / np.sqrt(np.maximum(length, 1e-9))
        return paired


def most_similar(similar: npt.NDArray[np.floating[Any]], most: int) -> _Rows:
    """(k, most): the places of the greatest values of each row, the greatest first; rounded, so that noise decides nothing."""
    most = min(most, similar.shape[1])
    rounded = -similar.round(6)
    nearest = np.sort(np.argpartition(rounded, most - 1, axis=1)[:, :most], axis=1)
    order = np.argsort(np.take_along_axis(rounded, nearest, axis=1), axis=1, kind="stable")
    return np.take_along_axis(nearest, order, axis=1)


def spread(rows: _Rows, most: int = _ANCHORS) -> _Rows:
    """At most so many of the rows, evenly spread."""
    places = np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64)
    some: _Rows = rows[np.unique(places)]
    return some


def cosines(one: _Floats, other: _Floats) -> _Floats:
    """The cosine of each pair of rows; 0 where one of them is nothing."""
    length = np.sqrt(np.einsum("ij,ij->i", one, one) * np.einsum("ij,ij->i", other, other))
    cosine: _Floats = np.einsum("ij,ij->i", one, other) / np.maximum(length, np.float32(1e-12))
    return cosine
