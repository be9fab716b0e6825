//! What an administrator sets for a whole stack: `net.ipv4.*` and friends. Changes count for what begins after them.

use crate::tcp::CongestionControl;

/// The settings, with Linux's names and defaults unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Hops that packets begin with (`ip_default_ttl`).
    pub hops: u8,
    /// `tcp_sack`.
    pub sack: bool,
    /// `tcp_timestamps`.
    pub timestamps: bool,
    /// `tcp_window_scaling`.
    pub window_scaling: bool,
    /// `tcp_syncookies`.
    pub syn_cookies: bool,
    /// Connections of a listener that may be beginning at once (`tcp_max_syn_backlog`).
    pub syn_backlog: usize,
    /// `tcp_syn_retries`.
    pub syn_retries: u32,
    /// `tcp_synack_retries`.
    pub syn_ack_retries: u32,
    /// `tcp_retries2`.
    pub retries: u32,
    /// `tcp_fin_timeout`, nanoseconds.
    pub fin_timeout: u64,
    /// Largest receive buffer that grows by itself (`tcp_rmem`), bytes; 32 MiB here.
    pub largest_receive: usize,
    /// `tcp_congestion_control`.
    pub congestion: CongestionControl,
    /// Addresses are made of what routers tell (`accept_ra`).
    pub accept_router_advertisements: bool,
    /// Echo requests are answered (the opposite of `icmp_echo_ignore_all`).
    pub answer_echoes: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hops: 64,
            sack: true,
            timestamps: true,
            window_scaling: true,
            syn_cookies: true,
            syn_backlog: 1024,
            syn_retries: 6,
            syn_ack_retries: 5,
            retries: 15,
            fin_timeout: 60_000_000_000,
            largest_receive: 32 << 20,
            congestion: CongestionControl::Cubic,
            accept_router_advertisements: true,
            answer_echoes: true,
        }
    }
}
