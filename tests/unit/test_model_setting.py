"""Settings of real machines, in the words of the tools that set them by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.model.setting import Setting


@pytest.mark.parametrize(
    ("text", "kind", "target", "values"),
    [
        ("ethtool -K eth1 gro off", "features", "eth1", {"gro": "off"}),
        ("ethtool -K enp1s0f0 tso off gso on", "features", "enp1s0f0", {"tso": "off", "gso": "on"}),
        ("ethtool -G eth1 rx 4096 tx 512", "rings", "eth1", {"rx": "4096", "tx": "512"}),
        ("ethtool -C eth1 adaptive-rx off rx-usecs 50", "coalesce", "eth1", {"adaptive-rx": "0", "rx-usecs": "50"}),
        ("ethtool -L eth1 combined 4", "channels", "eth1", {"combined": "4"}),
        ("modparam tcp_cubic.beta=800", "modparam", "tcp_cubic", {"beta": "800"}),
        ("tc qdisc replace dev eth1 root fq pacing", "qdisc", "eth1", {"root": "fq pacing"}),
        ("tc qdisc add dev eth1 root pfifo limit 10", "qdisc", "eth1", {"root": "pfifo limit 10"}),
        ("reload e1000e", "module", "e1000e", {}),
        ("reload e1000e InterruptThrottleRate=3000,3000", "module", "e1000e", {"InterruptThrottleRate": "3000,3000"}),
    ],
)
def test_a_setting_is_read(text: str, kind: str, target: str, values: dict[str, str]) -> None:
    setting = Setting.parse(text)
    assert (setting.kind, setting.target, dict(setting.values), setting.text) == (kind, target, values, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected one of: ethtool -K"),
        ("ethtool", "expected one of"),
        ("ethtool -K eth1", "expected one of"),
        ("ethtool -K eth1 gro", "expected pairs"),
        ("ethtool -K eth1 gro maybe", "expected FEATURE on or off"),
        ("ethtool -K eth1 gro on gro off", "each name may be given once"),
        ("ethtool -K ../eth1 gro on", "expected the name of an interface"),
        ("ethtool -K -x gro on", "expected the name of an interface"),
        ("ethtool -G eth1 rx many", "expected rx and a number"),
        ("ethtool -G eth1 rx 99999999999", "expected rx and a number"),
        ("ethtool -G eth1 queue 3", "expected one of rx, rx-mini"),
        ("ethtool -C eth1 adaptive-rx 7", "expected adaptive-rx on or off"),
        ("modparam tcp_cubic", "expected MODULE.PARAM=VALUE"),
        ("modparam ../x.beta=1", "expected"),
        ("modparam x.../../y=1", "expected"),
        ("reload ../../evil", "expected the name of a kernel module"),
        ("reload x y", "expected PARAM=VALUE"),
        ("tc qdisc del dev eth1 root", "expected one of"),
        ("tc qdisc replace dev eth1 parent 1:1 fq", "expected one of"),
        ("ethtool -K eth1 'gro off", "cannot be split into words"),
        ("rm -rf /", "expected one of"),
        ("ethtool -K eth1 gro off\n", "printable characters"),
    ],
)
def test_nonsense_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Setting.parse(text)


@given(st.text(max_size=60))
def test_any_text_is_a_setting_or_a_value_error(text: str) -> None:
    for begin in ("", "ethtool -K ", "modparam ", "tc qdisc replace dev eth1 root ", "reload "):
        try:
            setting = Setting.parse(begin + text)
        except ValueError:
            continue
        assert "/" not in setting.target
        assert not setting.target.startswith(("-", "."))
