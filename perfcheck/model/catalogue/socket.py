"""Metrics of the sockets: how full their buffers are, at the sender and at the receiver of each measured flow."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from perfcheck.model.catalogue.declare import NEITHER, OF_HOST, OF_TRAFFIC, Source, count, distribution, metric
from perfcheck.model.metric import MetricSpec

_MEMORY: Final = Source(text="iter/bpf_sk_storage_map and sock_diag (INET_DIAG_SKMEMINFO), 5 samples per second",
                        needs="socket", subjects=OF_TRAFFIC)  # fmt: skip
_CONNECTIONS: Final = Source(text="iter/bpf_sk_storage_map and sock_diag, 5 samples per second", needs="socket")
_QUEUES: Final = replace(_CONNECTIONS, subjects=OF_TRAFFIC)
_LISTEN: Final = Source(text="sock_diag: listening sockets, 5 samples per second", needs="socket")
_STATES: Final = Source(text="/proc/net/sockstat", needs="socket")
_NETSTAT: Final = Source(text="/proc/net/netstat: TcpExt", needs="host", subjects=OF_HOST)
_FULL: Final = Source(text="{}", hooks=("sock_rcvqueue_full",), needs="drops")
_REFUSED: Final = Source(text="{}", hooks=("sock_exceed_buf_limit",), needs="drops")
_DROPS: Final = Source(text="{}: reason", hooks=("kfree_skb",), needs="drops")

SOCKET: Final[tuple[MetricSpec, ...]] = (
    *distribution("socket.snd_use_pct", "pct", "p50 p90 p99 max", "send buffer in use at the sender: sk_wmem_queued "
                  "over sk_sndbuf; the kernel lets the last write exceed it", _MEMORY, NEITHER, floor=10.0,
                  overruns=True),
    *distribution("socket.rcv_use_pct", "pct", "p50 p90 p99 max", "receive buffer in use at the receiver: "
                  "sk_rmem_alloc over sk_rcvbuf; the kernel lets the last packets exceed it", _MEMORY, floor=10.0,
                  overruns=True),
    *distribution("socket.sendq_bytes", "bytes", "p50 p90 p99 max", "data sent and not acknowledged, or not sent yet, "
                  "at the sender (Send-Q)", _QUEUES, NEITHER, floor=50_000.0),
    *distribution("socket.recvq_bytes", "bytes", "p50 p90 p99 max", "data received and not read yet, at the receiver "
                  "(Recv-Q)", _QUEUES, floor=50_000.0),
    metric("socket.sndbuf_bytes.max", "bytes", "largest send buffer of a sender (sk_sndbuf)", _MEMORY, NEITHER),
    metric("socket.rcvbuf_bytes.max", "bytes", "largest receive buffer of a receiver (sk_rcvbuf)", _MEMORY, NEITHER),
    count("socket.drops", "packets that measured sockets dropped (sk_drops)", _MEMORY),
    count("socket.established.max", "largest number of connections established at the same time", _CONNECTIONS,
          NEITHER),
    count("socket.closing.max",
          "largest number of connections closed by one side at the same time (FIN_WAIT1, FIN_WAIT2, CLOSING, "
          "LAST_ACK)", _CONNECTIONS,
          NEITHER),
    count("socket.close_wait.max",
          "largest number of connections closed by the peer but not by the application at the same time "
          "(CLOSE_WAIT)", _CONNECTIONS),
    count("socket.time_wait.max",
          "largest number of sockets of a host in TIME_WAIT, at begin or end", _STATES, NEITHER),
    count("socket.accept_queue.max", "longest queue of connections waiting to be accepted", _LISTEN),
    metric("socket.accept_queue_pct.max", "pct",
           "largest use of an accept queue, as a share of its length; the kernel accepts one connection more",
           _LISTEN, floor=10.0, overruns=True),
    count("socket.listen_overflows", "connections that found the accept queue full", _NETSTAT),
    count("socket.listen_drops", "connection attempts that listening sockets dropped, for any reason", _NETSTAT),
    count("socket.rcv_pruned", "times that a receive buffer was full, and data was collapsed or dropped (PruneCalled)",
          _NETSTAT),
    count("socket.rcv_collapsed", "segments collapsed for lack of buffer space", _NETSTAT),
    count("socket.backlog_drops",
          "segments dropped because the backlog of a socket was full while its process held it", _NETSTAT),
    count("socket.rcvq_drops", "segments dropped because the receive queue was full", _NETSTAT),
    count("socket.zero_windows", "times that a receiver had no room and closed its window", _NETSTAT),
    count("socket.rcvqueue_full",
          "ICMP echo replies dropped by full ping sockets (raw and packet sockets are not counted)",
          _FULL),
    count("socket.memory_refused",
          "times that a socket got no memory because of its protocol's memory limit", _REFUSED),
    count("socket.drops_rcvbuf", "packets dropped because a socket was full (SOCKET_RCVBUFF, SOCKET_BACKLOG, "
          "PROTO_MEM)", _DROPS),
    count("socket.drops_no_socket", "packets dropped because no socket listened (NO_SOCKET)", _DROPS),
)  # fmt: skip
