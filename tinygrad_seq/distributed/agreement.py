"""What the ranks say to each other before gradients are averaged: who has which, and with what weight."""

from __future__ import annotations

import math
import zlib

from ..tensor.rng import default_generator
from .group import Group, ranks
from .header import STATIC, Header

NAME = "average_gradients"


class Agreement:
    """What is averaged, as this rank sees it, and after `reach` as all see it.

    Args:
        whats: the arrays in words.
        present: for each of them whether this rank has it.
        static: whether a compiled program asks, which cannot have others at the next call.

    Attributes:
        factor: this rank's weight, divided by the mean of all weights.
    """

    group: Group
    present: list[bool]
    static: bool

    def __init__(self, group: Group, whats: list[str], present: list[bool], static: bool) -> None:
        self.group, self.present, self.static = group, present, static
        self._whats = whats
        self._text, self._hash = "; ".join(whats), zlib.crc32(bytes(present))
        self.factor: float = 1.0

    def reach(self, weight: float, seed: int, offset: int) -> None:
        """Meet the others. What any rank has, all have from then on, if it is not too late for that.

        Args:
            seed, offset: where the common generator stands here.

        Raises:
            DistributedError: on all ranks.
        """
        group = self.group
        headers = group.meet(
            NAME,
            lambda: self._text,
            weight=weight,
            present=self._hash,
            static=self.static,
            stands=(seed, offset),
        )
        weights = [h.weight for h in headers]
        if not all(w >= 0 for w in weights) or not 0 < sum(weights) < math.inf:
            group.fail(f"{NAME} takes weights from 0 on, and one above 0 at least; the ranks gave {weights}")
        if any(h.present != self._hash for h in headers):
            self._unite(headers)
        self._follow(headers)
        self.factor = weight * group.size / math.fsum(weights)
        group.step += 1

    def _unite(self, headers: list[Header]) -> None:
        found = [[*map(bool, flags)] for flags in self.group.exchange(bytes(self.present), NAME)]
        union = [any(flags) for flags in zip(*found, strict=True)]
        late = [r for r, h in enumerate(headers) if h.flags & STATIC and found[r] != union]
        if late:
            missing = next(i for i, there in enumerate(union) if there != found[late[0]][i])
            self.group.fail(
                f"{NAME} in step {self.group.step + 1}: {self._whats[missing]} has no gradient on {ranks(late)}, where "
                "the step is compiled, but has one elsewhere; let the loss depend on it on every rank, as by "
                "adding 0 * p.sum()"
            )
        self.present = union

    def _follow(self, headers: list[Header]) -> None:
        """Let the common generator stand where it does on the ranks with data: one without has drawn nothing."""
        stands = {(h.seed, h.offset) for h in headers if h.weight}
        behind = [h for h in headers if (h.seed, h.offset) not in stands]
        if len(stands) > 1 or any(h.flags & STATIC for h in behind):
            places = ", ".join([f"{h.offset} of seed {h.seed} on rank {r}" for r, h in enumerate(headers)])
            self.group.fail(
                f"{NAME} in step {self.group.step + 1}: the ranks have not drawn the same random numbers: the "
                f"generator stands at {places}. Begin with the same tg.manual_seed(), say with shard() which rows each "
                "rank has, and give draws that are one rank's own a tg.Generator of their own"
            )
        if headers[self.group.rank] in behind:
            default_generator.set_state(next(iter(stands)))
