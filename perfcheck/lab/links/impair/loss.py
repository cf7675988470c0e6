"""Which packets are lost, as a function of their places."""

from __future__ import annotations

from perfcheck.lab.links.impair.prf import fold, threshold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from perfcheck.lab.links.impair.place import Place
    from perfcheck.lab.links.impair.plan import LossPlan

_FATE: Final = 0x10
_STATE: Final = 0x11


class RandomLoss:
    """Each packet is lost with the same probability, independently: its key is a number as good as any."""

    __slots__ = ("_bound",)

    def __init__(self, probability: float) -> None:
        """Take the probability, 0..1."""
        self._bound = threshold(probability)

    def lost(self, place: Place) -> bool:
        """Whether the packet in this place is lost."""
        return place[0] < self._bound


class GilbertElliott:
    """Bursts by a two-state chain (Gilbert 1960, Elliott 1963), one step a packet of its like in its flow.

    A repeated segment comes at least a round trip after the burst that hit it, when the chain has
    forgotten; it draws its state from the chain's long-run shares, so that it shifts nothing.
    """

    __slots__ = ("_bad", "_bad_bound", "_bad_share_bound", "_good_bound", "_stay_bound", "_to_bad_bound")

    def __init__(self, plan: LossPlan) -> None:
        """Take p, r, h, k; all chains begin in the good state."""
        self._to_bad_bound = threshold(plan.to_bad)
        self._stay_bound = threshold(1 - plan.to_good)
        self._bad_bound = threshold(plan.bad_loss)
        self._good_bound = threshold(plan.good_loss)
        leaving = plan.to_bad + plan.to_good
        self._bad_share_bound = threshold(plan.to_bad / leaving if leaving else 0.0)
        self._bad: dict[int, bool] = {}

    def lost(self, place: Place) -> bool:
        """Whether the packet in this place is lost; call it once a packet, in order."""
        key, chain, again = place
        draw = fold(key, _STATE)
        if again:
            bad = draw < self._bad_share_bound
        else:
            bad = draw < (self._stay_bound if self._bad.get(chain, False) else self._to_bad_bound)
            self._bad[chain] = bad
        return fold(key, _FATE) < (self._bad_bound if bad else self._good_bound)


def loss_model(plan: LossPlan) -> RandomLoss | GilbertElliott:
    """Give the cheapest model that does what the plan says."""
    if plan.to_bad == 0 or plan.bad_loss == plan.good_loss:
        return RandomLoss(plan.good_loss)
    return GilbertElliott(plan)
