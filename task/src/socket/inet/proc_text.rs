//! The texts of /proc/net/tcp, tcp6, udp, udp6.

use core::fmt::Write;
use core::net::SocketAddr;
use core::sync::atomic::Ordering;

use chitin_net_stack::Proto;

use super::InetStack;

const TCP_HEADER: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const TCP6_HEADER: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const UDP_HEADER: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n";
const UDP6_HEADER: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n";

impl InetStack {
    /// The text for a protocol and family.
    pub fn proc_text(&self, proto: Proto, v6: bool) -> String {
        let mut text = String::from(match (proto, v6) {
            (Proto::Tcp, false) => TCP_HEADER,
            (Proto::Tcp, true) => TCP6_HEADER,
            (Proto::Udp | Proto::Raw, false) => UDP_HEADER,
            (Proto::Udp | Proto::Raw, true) => UDP6_HEADER,
        });
        let list = self.with(|stack, _| stack.list(proto));
        let list = list.into_iter().filter(|(_, local, ..)| local.is_ipv6() == v6);
        for (index, (id, local, remote, state)) in list.enumerate() {
            let socket = self.sockets.lock().get(&id).and_then(std::sync::Weak::upgrade);
            let (ino, user) =
                socket.map_or((0, 0), |socket| (socket.ino.load(Ordering::Relaxed), socket.user));
            let (unsent, unread) = self.with(|stack, _| {
                let stats = stack.tcp_stats(id);
                (stats.unsent, stats.unread)
            });
            let (local, remote, state) = (hex(local), hex(remote), state as u8);
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "{index:4}: {local} {remote} {state:02X} {unsent:08X}:{unread:08X} 00:00000000 00000000 {user:5}        0 {ino}"
            );
            text.push_str(match proto {
                Proto::Tcp => " 1 0000000000000000 100 0 0 10 0\n",
                Proto::Udp | Proto::Raw => " 2 0000000000000000 0\n",
            });
        }
        text
    }
}

/// An address in the words of the machine's byte order, as Linux prints it.
fn hex(address: SocketAddr) -> String {
    let words = |octets: &[u8]| {
        octets.chunks_exact(4).fold(String::new(), |mut text, word| {
            let word = <[u8; 4]>::try_from(word).map_or(0, u32::from_ne_bytes);
            let _ = write!(text, "{word:08X}");
            text
        })
    };
    let text = match address {
        SocketAddr::V4(address) => words(&address.ip().octets()),
        SocketAddr::V6(address) => words(&address.ip().octets()),
    };
    format!("{text}:{:04X}", address.port())
}
