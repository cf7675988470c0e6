"""What the relay process is told about one direction of a link: plain numbers that cross as JSON."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_QUEUE_PACKETS = 1000
"""Queue behind a rate where the file names none: netem's and pfifo's own default."""


class LossPlan:
    """Probabilities (0..1) of a loss model; a random loss is a chain that never leaves its good state."""

    __slots__ = ("bad_loss", "good_loss", "to_bad", "to_good")

    def __init__(self, *, to_bad: float, to_good: float, bad_loss: float, good_loss: float) -> None:
        """Take p, r, h and k of Gilbert-Elliott."""
        self.to_bad = to_bad
        self.to_good = to_good
        self.bad_loss = bad_loss
        self.good_loss = good_loss


class DirectionPlan:
    """Impairments of one direction; `None` or 0 means that the direction does not have it.

    A `trace` has `opportunities` (at_ns, repeat_ns) or `rate` (at_ns, bps, repeat_ns), and `delay`
    (at_ns, ns, repeat_ns), each optional; it begins with the trial. `loss_steps` (at_ns, losses) does
    too, and replaces `loss`. `policer` has rate_bps and burst_bytes, `codel` target_ns and interval_ns.
    """

    __slots__ = (
        "codel", "corrupt", "delay_ns", "direction", "distribution", "duplicate", "ecn", "jitter_ns", "loss",
        "loss_steps", "mtu", "policer", "queue_bytes", "queue_packets", "rate_bps", "reorder", "seed", "trace",
    )  # fmt: skip

    def __init__(
        self,
        *,
        direction: int,
        seed: int,
        mtu: int,
        delay_ns: int = 0,
        jitter_ns: int = 0,
        distribution: str = "uniform",
        rate_bps: int | None = None,
        queue_bytes: int | None = None,
        queue_packets: int | None = None,
        codel: dict[str, int] | None = None,
        policer: dict[str, int] | None = None,
        loss: dict[str, float] | None = None,
        reorder: float = 0.0,
        duplicate: float = 0.0,
        corrupt: float = 0.0,
        ecn: bool = False,
        trace: dict[str, Any] | None = None,
        loss_steps: dict[str, Any] | None = None,
    ) -> None:
        """Take the fields by name, as JSON has them."""
        self.direction = direction
        self.seed = seed
        self.mtu = mtu
        self.delay_ns = delay_ns
        self.jitter_ns = jitter_ns
        self.distribution = distribution
        self.rate_bps = rate_bps
        self.queue_bytes = queue_bytes
        self.queue_packets = queue_packets
        self.codel = codel
        self.policer = policer
        self.loss = LossPlan(**loss) if loss else None
        self.reorder = reorder
        self.duplicate = duplicate
        self.corrupt = corrupt
        self.ecn = ecn
        self.trace = trace
        self.loss_steps = loss_steps

    def as_json(self) -> dict[str, Any]:
        """Return the fields by name, as the relay process takes them."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        loss = self.loss
        return fields | {"loss": None if loss is None else {name: getattr(loss, name) for name in loss.__slots__}}

    @property
    def draws(self) -> bool:
        """Whether any fate depends on a packet's id."""
        return bool(self.loss or self.loss_steps or self.reorder or self.duplicate or self.corrupt)
