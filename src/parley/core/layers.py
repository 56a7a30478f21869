"""Layers: the encodings of one simulcast track, which of them a subscriber wants, and what the engine is told of that.

All of it is plain functions of plain values. A track's layers are in the order its publisher declared them, which says
nothing of their quality; that is told by the publisher's dialect, or by their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import pairwise
from math import inf

from parley.engine.specs import LayerPolicy

DEFAULT_HEIGHTS = (180, 360)
"""Of the lower layers of a track of which no sizes are known, in pixels, worst first."""
FULL_FPS = 30
"""What a track is taken to have a second when all its temporal layers are forwarded. Each one left out halves it."""
TEMPORAL_LAYERS = 3
"""What encoders of realtime video make at most (WebRTC's `L1T3`)."""


class Quality(IntEnum):
    """How good a layer is, compared with the others of its track."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2


@dataclass(frozen=True, slots=True)
class Layer:
    """One encoding of a track."""

    rid: str = ""
    """Its name, as the track's section has it; empty while it is only announced."""
    quality: Quality = Quality.HIGH
    width: int = 0
    """In pixels, as announced; 0: nothing was said."""
    height: int = 0
    bitrate_bps: int = 0
    """The most it is to take, as announced; 0: nothing was said."""


@dataclass(frozen=True, slots=True)
class ByRid:
    """The layer of this name; none of it: the first declared that is there."""

    rid: str = ""
    falls_back: bool = False
    """Whether another is taken while it is not there: the next one in the order of names, which is that of quality
    (`a` before `b`), else the last one before it. Without a name another always is."""


@dataclass(frozen=True, slots=True)
class ByQuality:
    """The best layer up to this quality, else the worst one there is."""

    quality: Quality = Quality.HIGH


@dataclass(frozen=True, slots=True)
class BySize:
    """The smallest layer that is as high as this, in pixels, else the largest."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class LayerWish:
    """What a subscriber wants of a track that has layers."""

    choice: ByRid | ByQuality | BySize = ByRid()
    max_fps: int = 0
    """The most pictures a second it has use for; 0: all."""
    priority: int = 0
    """Which of its tracks goes first where not all fit, 1 before 2; 0: nothing was said."""


ANY_LAYER = LayerWish()
"""The first one declared that is there."""


def arrange(rids: Sequence[str], announced: Sequence[Layer]) -> tuple[Layer, ...]:
    """The layers of a published track, in the order of `rids`.

    announced: what is known of them, which they share out by name, else by quality: the first name in the order of
    names is the best. That fits `a` and `b`, `f`, `h` and `q`, and `0`, `1` and `2`.
    """
    by_rid = {layer.rid: layer for layer in announced if layer.rid}
    worst_first = sorted(rids, reverse=True)
    nameless = sorted((layer for layer in announced if not layer.rid), key=lambda layer: layer.quality)
    if len(nameless) >= len(worst_first):
        by_rank = dict(zip(worst_first, nameless, strict=False))
    else:
        by_rank = {rid: Layer(quality=_quality(rank, len(rids))) for rank, rid in enumerate(worst_first)}
    return tuple(replace(by_rid.get(rid) or by_rank[rid], rid=rid) for rid in rids)


def _quality(rank: int, count: int) -> Quality:
    """Of a layer about which nothing is known but how many are worse."""
    if rank == count - 1:
        return Quality.HIGH
    return Quality.LOW if rank == 0 else Quality.MEDIUM


def policy(layers: Sequence[Layer], wish: LayerWish) -> LayerPolicy:
    """What the engine is to forward of a track with these layers; of one that has none, what there is."""
    if not layers:
        chosen = LayerPolicy()
    else:
        match wish.choice:
            case ByRid(rid=""):
                chosen = LayerPolicy(target=0, when_missing=tuple(range(1, len(layers))))
            case ByRid() as choice:
                chosen = _by_rid([layer.rid for layer in layers], choice)
            case ByQuality(quality=quality):
                ladder = _worst_first(layers)
                chosen = _down_from(ladder, _rank_of_quality([layers[index].quality for index in ladder], quality))
            case BySize() as size:
                ladder = _worst_first(layers)
                chosen = _down_from(ladder, _rank_of_size([layers[index] for index in ladder], size))
    return replace(chosen, max_temporal=_temporal(wish.max_fps))


def _by_rid(rids: Sequence[str], choice: ByRid) -> LayerPolicy:
    target = rids.index(choice.rid) if choice.rid in rids else len(rids)
    if not choice.falls_back:
        return LayerPolicy(target)
    by_name = sorted(range(len(rids)), key=lambda index: rids[index].encode())
    after = [index for index in by_name if rids[index].encode() > choice.rid.encode()]
    before = [index for index in reversed(by_name) if rids[index].encode() < choice.rid.encode()]
    return LayerPolicy(target, when_missing=(*after, *before))


def _worst_first(layers: Sequence[Layer]) -> list[int]:
    """Indexes by quality, and by name where that is the same."""
    names = sorted((layer.rid for layer in layers), reverse=True)
    return sorted(range(len(layers)), key=lambda index: (layers[index].quality, names.index(layers[index].rid)))


def _rank_of_quality(qualities: Sequence[Quality], wanted: Quality) -> int:
    """Of the layer that stands for a quality, not every one of which need be there: MEDIUM is the better of two."""
    if wanted is Quality.LOW:
        return 0
    if wanted is Quality.HIGH or wanted not in qualities:
        return len(qualities) - 1
    return max(rank for rank, quality in enumerate(qualities) if quality is wanted)


def _rank_of_size(layers: Sequence[Layer], wanted: BySize) -> int:
    heights: list[float] = [layer.height for layer in layers]
    needed = wanted.height
    if not all(heights):
        heights = [*DEFAULT_HEIGHTS[: len(layers) - 1], inf]
        needed = min(wanted.width, wanted.height)  # Those are of a picture that is wider than high.
    for rank, (height, next_height) in enumerate(pairwise(heights)):
        if height >= needed and height != next_height:
            return rank
    return len(layers) - 1


def _down_from(ladder: Sequence[int], rank: int) -> LayerPolicy:
    """The layer at this rank, those below it, best first, and only then those above it, worst first."""
    return LayerPolicy(ladder[rank], when_missing=(*reversed(ladder[:rank]), *ladder[rank + 1 :]))


def _temporal(max_fps: int) -> int | None:
    if not max_fps:
        return None
    for layer in range(TEMPORAL_LAYERS - 1):
        if max_fps <= FULL_FPS >> (TEMPORAL_LAYERS - 1 - layer):
            return layer
    return None


def best(layers: Sequence[Layer], wanted: Sequence[int]) -> Quality | None:
    """The quality of the best layer among these indexes; of a track without layers, HIGH for its one; None: of none."""
    known = [layers[index].quality for index in wanted if index < len(layers)]
    if not known:
        return Quality.HIGH if wanted else None
    return max(known)
