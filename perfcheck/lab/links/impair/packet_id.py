"""A packet's id within its flow: what makes two runs with one seed lose the same packets.

Timing differs between runs, so neither a packet's ordinal on the link nor the time may decide its
fate. Its id does: for TCP data the part of the byte stream it carries and how often that part has
been sent before, so that a retransmission, a pure ACK or a partial segment shifts nothing behind it.

The byte stream is cut into cells of one full segment. A segment that holds a cell's first byte (each
full segment holds exactly one) has that cell's id; a shorter one between two such bytes has an
id of its own. So each packet has one draw, whatever its size, and full segments keep
their draws when an odd-sized write has moved all later boundaries.

A pure ACK's id is its acknowledgment number and how often it has been repeated; that of UDP and of
all else is the ordinal within the flow. Flows are told apart by protocol, addresses, the lower port
(the service's) and the order in which they begin, for the other port is random.
"""

from __future__ import annotations

from struct import Struct

from perfcheck.lab.links.impair.prf import at, fold, fold_bytes, mix64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    PacketId = tuple[int, int, bool]

ETHERNET_BYTES: Final = 14
MAX_FLOWS: Final = 65_536
TCP: Final = 6
UDP: Final = 17
ICMPV6: Final = 58
_FIN: Final = 1
_SYN: Final = 2
_RST: Final = 4
_ACK_FLAG: Final = 16
_HALF32: Final = 1 << 31
_MASK32: Final = (1 << 32) - 1
_DATA, _ACK, _CONTROL = 1, 2, 3
_NEIGHBOUR_DISCOVERY: Final = range(133, 138)
_SEQ_ACK: Final = Struct("!II")
_PLAIN_IPV4: Final = b"\x08\x00\x45"
"""EtherType, version and a header without options."""
_WHOLE: Final = (b"\x40\x00", b"\x00\x00")
"""Flags and offset of a packet that is no fragment."""


class TcpFlow:
    """One direction of a TCP connection as the link has seen it so far."""

    __slots__ = (
        "ack", "ack_chain", "ack_repeats", "cell_bytes", "control", "control_chain", "data_chain", "first", "first_ack",
        "high", "sent_again",
    )  # fmt: skip

    def __init__(self, ident: int, first_seq: int, first_ack: int | None) -> None:
        """Begin at the sequence number of the first data byte; both ends choose theirs at random."""
        self.data_chain = ident ^ _DATA
        self.ack_chain = ident ^ _ACK
        self.control_chain = ident ^ _CONTROL
        self.first = first_seq
        self.first_ack = first_ack
        self.high = 0
        self.cell_bytes = 0
        self.sent_again: dict[int, int] = {}
        self.ack = -1
        self.ack_repeats = 0
        self.control: dict[int, int] = {}

    def data(self, seq: int, length: int) -> PacketId:
        """Return the id of a segment of `length` > 0 bytes."""
        ahead = (seq - self.first - self.high + _HALF32) & _MASK32
        start = self.high + ahead - _HALF32
        end = start + length
        cell = -(-start // self.cell_bytes)
        position = cell * 2 if cell * self.cell_bytes < end else start * 2 + 1
        repeat = 0
        if start >= self.high:
            self.high = end
        else:
            repeat = self.sent_again.get(position, 0) + 1
            self.sent_again[position] = repeat
        return at(self.data_chain, position, repeat), self.data_chain, repeat > 0

    def pure_ack(self, ack: int) -> PacketId:
        """Return the id of a segment without data, SYN, FIN or RST."""
        if self.first_ack is None:
            self.first_ack = ack
        if ack == self.ack:
            self.ack_repeats += 1
        else:
            self.ack = ack
            self.ack_repeats = 0
        return at(self.ack_chain, (ack - self.first_ack) & _MASK32, self.ack_repeats), self.ack_chain, False

    def control_segment(self, flags: int) -> PacketId:
        """Return the id of a SYN, FIN or RST without data."""
        repeat = self.control.get(flags, 0)
        self.control[flags] = repeat + 1
        return at(self.control_chain, flags, repeat), self.control_chain, repeat > 0


class PacketIds:
    """Finds the packet id of each frame of one direction of a link; sees each frame once, in order."""

    __slots__ = ("_base", "_mtu", "_services", "_streams", "_tcp")

    def __init__(self, seed: int, direction: int, mtu: int) -> None:
        """Take the link's seed, 0 for forward or 1 for reverse, and the link's MTU."""
        self._base = fold(mix64(seed), direction)
        self._mtu = mtu
        self._tcp: dict[bytes, TcpFlow] = {}
        self._streams: dict[bytes, list[int]] = {}
        self._services: dict[bytes, int] = {}

    def identify(self, frame: bytes) -> PacketId | None:
        """Return (key, chain, sent before), or None for ARP and neighbour discovery, which are not the path's.

        `key` is the packet's alone, `chain` is that of its like in its flow (for burst models).
        """
        if len(frame) >= 54 and frame[12:15] == _PLAIN_IPV4 and frame[23] == TCP and frame[20:22] in _WHOLE:
            return self._tcp_segment(frame, frame[26:38], 34, 14 + frame[16] * 256 + frame[17])
        ethertype = frame[12:14]
        if ethertype == b"\x08\x00" and len(frame) >= 34:
            l4 = 14 + (frame[14] & 15) * 4
            fragment = (frame[20] & 0x1F) | frame[21]
            return self._transport(
                frame, 0 if fragment else frame[23], frame[26:34], l4, 14 + frame[16] * 256 + frame[17]
            )
        if ethertype == b"\x86\xdd" and len(frame) >= 54:
            protocol = frame[20]
            if protocol == ICMPV6 and len(frame) > 54 and frame[54] in _NEIGHBOUR_DISCOVERY:
                return None
            return self._transport(frame, protocol, frame[22:54], 54, 54 + frame[18] * 256 + frame[19])
        if ethertype == b"\x08\x06":
            return None
        return self._stream(ethertype, ethertype)

    def identify_segments(self, headers: bytes, l4: int, size: int, payload: int) -> list[PacketId]:
        """Return the ids of TCP segments of `size` bytes (the last: the rest) behind a super-packet's headers."""
        addresses = headers[22:54] if headers[12:14] == b"\x86\xdd" else headers[26:34]
        name = addresses + headers[l4 : l4 + 4]
        flow = self._tcp.get(name) or self._new_tcp_flow(name, headers, l4)
        if not flow.cell_bytes:
            flow.cell_bytes = max(1, self._mtu - len(headers) + ETHERNET_BYTES)
        seq = _SEQ_ACK.unpack_from(headers, l4 + 4)[0]
        return [flow.data(seq + begin, min(size, payload - begin)) for begin in range(0, payload, size)]

    def _transport(self, frame: bytes, protocol: int, addresses: bytes, l4: int, end: int) -> PacketId:
        if protocol == TCP and len(frame) >= l4 + 20:
            return self._tcp_segment(frame, addresses + frame[l4 : l4 + 4], l4, end)
        name = bytes((protocol,)) + addresses
        if protocol == UDP and len(frame) >= l4 + 8:
            return self._stream(name + frame[l4 : l4 + 4], name + _service_port(frame, l4))
        return self._stream(name, name)

    def _stream(self, flow: bytes, service: bytes) -> PacketId:
        stream = self._streams.get(flow)
        if stream is None:
            if len(self._streams) >= MAX_FLOWS:
                del self._streams[next(iter(self._streams))]
            stream = self._streams[flow] = [self._flow_ident(service), 0]
        chain, ordinal = stream
        stream[1] = ordinal + 1
        return at(chain, ordinal, 0), chain, False

    def _tcp_segment(self, frame: bytes, name: bytes, l4: int, end: int) -> PacketId:
        flow = self._tcp.get(name)
        seq, ack = _SEQ_ACK.unpack_from(frame, l4 + 4)
        flags = frame[l4 + 13]
        header = (frame[l4 + 12] >> 4) * 4
        length = end - l4 - header
        if flow is None or (flags & _SYN and flow.first != (seq + 1) & _MASK32):
            flow = self._new_tcp_flow(name, frame, l4)
        if length > 0:
            if not flow.cell_bytes:
                flow.cell_bytes = max(1, self._mtu - (l4 - ETHERNET_BYTES) - header)
            return flow.data(seq, length)
        kind = flags & (_SYN | _FIN | _RST)
        if kind:
            return flow.control_segment(kind)
        return flow.pure_ack(ack)

    def _new_tcp_flow(self, name: bytes, frame: bytes, l4: int) -> TcpFlow:
        seq, ack = _SEQ_ACK.unpack_from(frame, l4 + 4)
        flags = frame[l4 + 13]
        ident = self._flow_ident(bytes((TCP,)) + name[:-4] + _service_port(frame, l4))
        flow = TcpFlow(ident, (seq + bool(flags & _SYN)) & _MASK32, ack if flags & _ACK_FLAG else None)
        if name not in self._tcp and len(self._tcp) >= MAX_FLOWS:
            del self._tcp[next(iter(self._tcp))]
        self._tcp[name] = flow
        return flow

    def _flow_ident(self, service: bytes) -> int:
        ordinal = self._services.get(service, 0)
        self._services[service] = ordinal + 1
        return fold(fold_bytes(self._base, service), ordinal)


def _service_port(frame: bytes, l4: int) -> bytes:
    return min(frame[l4 : l4 + 2], frame[l4 + 2 : l4 + 4])
