//! `/proc/PID/net`: the network namespace of a process, as far as there is a network.

use chitin_abi::fs::{DT_DIR, DT_REG};
use chitin_net_stack::Proto;
use chitin_vfs::fs::pseudo::{Node, TableDir, TableEntry};

use super::process::Object;
use crate::namespace::NetNamespace;
use crate::socket::inet::interfaces;

const NETLINK: &str =
    "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n";
const PACKET: &str = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n";
const SOCKSTAT: &str = "sockets: used 0\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\nUDP: inuse 0 mem 0\nUDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n";
const SOCKSTAT6: &str =
    "TCP6: inuse 0\nUDP6: inuse 0\nUDPLITE6: inuse 0\nRAW6: inuse 0\nFRAG6: inuse 0 memory 0\n";
const PROTOCOLS: &str = "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re sp bi br ha uh gp em\nUNIX      1024      0      -1   NI       0   yes  kernel      n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n\n";
const SNMP: &str = "Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates OutTransmits\nIp: 2 64 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\nIcmp: InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InParmProbs InSrcQuenchs InRedirects InEchos InEchoReps InTimestamps InTimestampReps InAddrMasks InAddrMaskReps OutMsgs OutErrors OutRateLimitGlobal OutRateLimitHost OutDestUnreachs OutTimeExcds OutParmProbs OutSrcQuenchs OutRedirects OutEchos OutEchoReps OutTimestamps OutTimestampReps OutAddrMasks OutAddrMaskReps\nIcmp: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\nTcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors\nTcp: 1 200 120000 -1 0 0 0 0 0 0 0 0 0 0 0\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors\nUdp: 0 0 0 0 0 0 0 0 0\n";
const PTYPE: &str = "Type Device      Function\n";
const RAW: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n";

/// A text about the process's network namespace.
fn live(object: &Object, show: fn(&NetNamespace) -> Vec<u8>) -> Node {
    let object = object.clone();
    Node::text(0o444, move |out| {
        out.extend_from_slice(&show(&object.task()?.namespaces().net));
        Ok(())
    })
}

macro_rules! fixed {
    ($($name:literal $text:expr;)*) => {
        &[
            $(TableEntry { name: $name, kind: DT_REG, make: |_| Node::fixed(0o444, $text) },)*
            TableEntry { name: "tcp", kind: DT_REG, make: |object| live(object, |net| net.inet.proc_text(Proto::Tcp, false).into_bytes()) },
            TableEntry { name: "tcp6", kind: DT_REG, make: |object| live(object, |net| net.inet.proc_text(Proto::Tcp, true).into_bytes()) },
            TableEntry { name: "udp", kind: DT_REG, make: |object| live(object, |net| net.inet.proc_text(Proto::Udp, false).into_bytes()) },
            TableEntry { name: "udp6", kind: DT_REG, make: |object| live(object, |net| net.inet.proc_text(Proto::Udp, true).into_bytes()) },
            TableEntry { name: "arp", kind: DT_REG, make: |object| live(object, |net| interfaces::arp(&net.inet).into_bytes()) },
            TableEntry { name: "dev", kind: DT_REG, make: |object| live(object, |net| interfaces::dev(&net.inet).into_bytes()) },
            TableEntry { name: "if_inet6", kind: DT_REG, make: |object| live(object, |net| interfaces::if_inet6(&net.inet).into_bytes()) },
            TableEntry { name: "ipv6_route", kind: DT_REG, make: |object| live(object, |net| interfaces::ipv6_route(&net.inet).into_bytes()) },
            TableEntry { name: "route", kind: DT_REG, make: |object| live(object, |net| interfaces::route(&net.inet).into_bytes()) },
            TableEntry { name: "unix", kind: DT_REG, make: |object| live(object, |net| net.unix.proc_text()) },
            TableEntry { name: "stat", kind: DT_DIR, make: |_| Node::dir(0o555, chitin_vfs::fs::pseudo::Dir::new()) },
        ]
    };
}

const ENTRIES: &[TableEntry<Object>] = fixed! {
    "dev_mcast" "";
    "fib_trie" "";
    "icmp" RAW;
    "igmp" "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n";
    "netlink" NETLINK;
    "netstat" "TcpExt: \nTcpExt: \nIpExt: \nIpExt: \n";
    "packet" PACKET;
    "protocols" PROTOCOLS;
    "psched" "000003e8 00000040 000f4240 3b9aca00\n";
    "ptype" PTYPE;
    "raw" RAW;
    "raw6" RAW;
    "snmp" SNMP;
    "snmp6" "";
    "sockstat" SOCKSTAT;
    "sockstat6" SOCKSTAT6;
    "softnet_stat" "00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000\n";
    "wireless" "Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE\n face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22\n";
};

/// `net`.
pub fn of_process(object: &Object) -> Node {
    Node::dir(0o555, TableDir::new(object.clone(), ENTRIES))
}
