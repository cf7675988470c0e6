"""Which packets are lost, as a function of their ids."""

from __future__ import annotations

from bisect import bisect_right

from perfcheck.lab.links.impair.plan import LossPlan
from perfcheck.lab.links.impair.prf import fold, threshold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from perfcheck.lab.links.impair.packet_id import PacketId
    from perfcheck.lab.links.impair.plan import DirectionPlan

_FATE: Final = 0x10
_STATE: Final = 0x11


class RandomLoss:
    """Each packet is lost with the same probability, independently: its key is a number as good as any."""

    __slots__ = ("_bound",)

    def __init__(self, probability: float) -> None:
        """Take the probability, 0..1."""
        self._bound = threshold(probability)

    def lost(self, packet_id: PacketId) -> bool:
        """Whether the packet with this id is lost."""
        return packet_id[0] < self._bound


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

    def lost(self, packet_id: PacketId) -> bool:
        """Whether the packet with this id is lost; call it once a packet, in order."""
        key, chain, again = packet_id
        draw = fold(key, _STATE)
        if again:
            bad = draw < self._bad_share_bound
        else:
            bad = draw < (self._stay_bound if self._bad.get(chain, False) else self._to_bad_bound)
            self._bad[chain] = bad
        return fold(key, _FATE) < (self._bad_bound if bad else self._good_bound)


def loss_model(plan: LossPlan) -> RandomLoss | GilbertElliott:
    """Return the cheapest model that does what the plan says."""
    if plan.to_bad == 0 or plan.bad_loss == plan.good_loss:
        return RandomLoss(plan.good_loss)
    return GilbertElliott(plan)


class LossSteps:
    """Loss models that follow one another in time; each packet id has the same draw in all of them."""

    __slots__ = ("_at_ns", "_models")

    def __init__(self, steps: dict[str, Any], begin_ns: int) -> None:
        """Take the times (ascending, the first 0) since the trial began and the loss from each on, None for none."""
        self._at_ns = [begin_ns + at_ns for at_ns in steps["at_ns"]]
        self._models = [loss_model(LossPlan(**loss)) if loss else None for loss in steps["losses"]]

    def at(self, now_ns: int) -> RandomLoss | GilbertElliott | None:
        """Return the model that holds now."""
        return self._models[max(0, bisect_right(self._at_ns, now_ns) - 1)]


def losses_of(plan: DirectionPlan, begin_ns: int) -> LossSteps | None:
    """Return the losses that follow one another, or None where the loss does not change."""
    return LossSteps(plan.loss_steps, begin_ns) if plan.loss_steps else None
