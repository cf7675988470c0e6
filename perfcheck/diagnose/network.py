"""A noisy-OR network of two layers, solved exactly: causes above, bits of evidence below.

A hypothesis is a set of none to three causes at once. All of them are enumerated: with 23 causes these are 2,048.
A bit is on with the probability

    P(on | S) = 1 - (1 - leak) * product over k in S of (1 - strength of k)

`healthy` is no cause of its own. It stands for every hypothesis without a harmful cause, and may turn bits on too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from perfcheck.model.causes import HEALTHY

Floats = npt.NDArray[np.float64]

MAX_CAUSES_AT_ONCE: Final = 3
NEVER: Final = 1e-6
"""No bit is certain: one that contradicts everything must not make all hypotheses impossible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bit:
    """One condition: how probably each cause, or `healthy`, turns it on; `weight` in 0..1 is how much it counts."""

    name: str
    says: Mapping[str, float]
    leak: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Posterior:
    """Probabilities of all hypotheses (in the network's order; their sum is 1), and what follows from them."""

    hypotheses: Floats
    causes: Mapping[str, float]
    healthy: float


class Network:
    """Causes, hypotheses and bits as matrices, made once for a set of rules."""

    def __init__(
        self, priors: Mapping[str, float], bits: Iterable[Bit], *, harmless: Iterable[str] = (),
        most: int = MAX_CAUSES_AT_ONCE,
    ) -> None:  # fmt: skip
        """Enumerate the hypotheses over the causes of `priors`, each with its probability (0..1, both excluded).

        `harmless` are the causes that leave a run healthy. What a bit says of causes without prior is left out.
        """
        self.causes = tuple(priors)
        self.bits = tuple(bits)
        self.column = {bit.name: index for index, bit in enumerate(self.bits)}
        self.index = {cause: index for index, cause in enumerate(self.causes)}
        sets = [chosen for size in range(most + 1) for chosen in combinations(range(len(self.causes)), size)]
        self.members: Floats = np.zeros((len(sets), len(self.causes)))
        for row, chosen in enumerate(sets):
            self.members[row, list(chosen)] = 1.0
        harmful = np.array([cause not in set(harmless) for cause in self.causes], dtype=bool)
        self.harmless: npt.NDArray[np.bool_] = self.members @ harmful == 0
        prior = np.array([priors[cause] for cause in self.causes])
        self.log_prior: Floats = self.members @ np.log(prior / (1 - prior)) if len(prior) else np.zeros(len(sets))
        self.weights: Floats = np.array([bit.weight for bit in self.bits])
        self.log_on, self.log_off = self._likelihoods()

    def _likelihoods(self) -> tuple[Floats, Floats]:
        """Return log P(on) and log P(off) of each bit (columns) under each hypothesis (rows)."""
        inhibit = np.zeros((len(self.causes), len(self.bits)))
        healthy = np.zeros(len(self.bits))
        none = np.zeros(len(self.bits))
        for column, bit in enumerate(self.bits):
            none[column] = np.log1p(-_probable(bit.leak))
            for cause, strength in bit.says.items():
                if cause == HEALTHY:
                    healthy[column] = np.log1p(-_probable(strength))
                elif cause in self.index:
                    inhibit[self.index[cause], column] = np.log1p(-_probable(strength))
        off = none + self.members @ inhibit + np.outer(self.harmless, healthy)
        off = np.clip(off, np.log(NEVER), np.log1p(-NEVER))
        on: Floats = np.log1p(-np.exp(off))
        return on, off

    def states(self, known: Mapping[str, float | None]) -> Floats:
        """Return the bits' states in their order: 1 on, 0 off, between where trials differ, NaN where not measured."""
        found = (known.get(bit.name) for bit in self.bits)
        return np.array([np.nan if state is None else state for state in found], dtype=np.float64)

    def log_likelihood(self, states: Floats) -> Floats:
        """Return each hypothesis' weighted log-likelihood; bits that were not measured (NaN) count nothing."""
        measured = np.isfinite(states)
        on = np.where(measured, states, 0.0)
        off = np.where(measured, 1.0 - on, 0.0)
        logs: Floats = self.log_on @ (self.weights * on) + self.log_off @ (self.weights * off)
        return logs

    def contributions(self, states: Floats, cause: str) -> Floats:
        """Return how much each bit speaks for a cause alone against a healthy run: a log-likelihood ratio each."""
        alone, none = 1 + self.index[cause], 0
        ratio_on = self.log_on[alone] - self.log_on[none]
        ratio_off = self.log_off[alone] - self.log_off[none]
        found = self.weights * (states * ratio_on + (1 - states) * ratio_off)
        return np.asarray(np.nan_to_num(found), dtype=np.float64)

    def posterior(self, states: Floats, further: Floats | None = None) -> Posterior:
        """Return the probabilities after the evidence.

        `states` are the bits' (see `states`), `further` the log-likelihood of each hypothesis from evidence that is
        not a bit of this network.
        """
        logs = self.log_prior + self.log_likelihood(states)
        if further is not None:
            logs = logs + further
        weights = np.exp(logs - logs.max())
        hypotheses = weights / weights.sum()
        marginals = hypotheses @ self.members
        return Posterior(
            hypotheses=hypotheses,
            causes={cause: float(min(1.0, share)) for cause, share in zip(self.causes, marginals, strict=True)},
            healthy=float(min(1.0, hypotheses[self.harmless].sum())),
        )

    def row(self, causes: Sequence[str]) -> int | None:
        """Return the hypothesis of exactly these causes, or None where it is not among those enumerated."""
        if any(cause not in self.index for cause in causes):
            return None
        wanted = np.zeros(len(self.causes))
        wanted[[self.index[cause] for cause in causes]] = 1.0
        found = np.flatnonzero((self.members == wanted).all(axis=1))
        return int(found[0]) if len(found) else None


def _probable(probability: float) -> float:
    return min(max(probability, NEVER), 1.0 - NEVER)
