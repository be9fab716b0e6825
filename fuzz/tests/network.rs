//! Packets from anybody, and sockets that talk by scripts.

use chitin_fuzz::fuzz;
use chitin_net_stack::fuzz::{frames, headers, script};

fn bytes(text: &str) -> Vec<u8> {
    text.split_whitespace().filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect()
}

#[test]
fn packet_headers() {
    let samples = [
        "45 00 00 3c 1c 46 40 00 40 06 20 6f 7f 00 00 01 7f 00 00 01",
        "45 00 00 1c 00 00 40 00 40 11 3c cf 7f 00 00 01 7f 00 00 01 30 39 00 50 00 08 00 00",
        "60 00 00 00 00 08 11 40 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 \
         00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 30 39 00 50 00 08 00 00",
        "30 39 00 50 00 00 00 01 00 00 00 02 70 12 ff ff 00 00 00 00 02 04 ff d7 01 03 03 07",
        "03 03 00 00 00 00 00 00 45 00 00 1c 00 00 40 00 40 11 3c cf 7f 00 00 01 7f 00 00 01 \
         30 39 00 50 00 08 00 00",
    ];
    fuzz(&samples.map(bytes), headers);
}

#[test]
fn tcp_scripts() {
    let samples = [
        // A listener on port 80, two clients, data both ways, a forged segment, the end.
        "00 00 00 00 00 04 02 00 08 03 01 08 03 02 08 04 00 04 00 05 01 64 06 03 ff 05 03 ff 06 01 40 \
         0e 01 10 ff ff 00 00 0a 08 01 02 09 03 09 01",
        // Urgent data, small buffers.
        "00 04 00 04 02 00 08 03 01 08 04 00 07 01 05 06 02 ff 05 01 ff 05 01 ff 0a 02 04 02 06 02 ff",
        // Datagrams, some to nobody.
        "00 01 00 01 02 00 08 03 01 08 05 01 20 06 00 ff 0b 01 10 20 05 01 01",
        // Segments before, in and after the handshake.
        "00 00 02 00 08 0e 00 02 ff ff 00 00 40 00 00 03 01 10 0f 01 12 ff ff 00 00 80 0e 01 14 00 00 00 00 00",
        "00 00 02 00 08 0d 14 45 00 00 28 00 00 40 00 40 06 3c ce 7f 00 00 01 7f 00 00 01",
    ];
    fuzz(&samples.map(bytes), script);
}

#[test]
fn frames_of_anybody() {
    let samples = [
        // A SYN, an acknowledgement, a datagram; an echo request; ARP; a neighbour's question; a router; fragments.
        "01 14 18 30 39 00 50 00 00 00 01 00 00 00 00 50 02 ff ff 00 00 00 00 \
         01 14 18 30 39 00 50 00 00 00 02 00 00 00 00 50 10 ff ff 00 00 00 00 \
         01 0a 44 30 39 00 35 00 0a 00 00 68 69",
        "1e 0a 04 08 00 00 00 00 01 00 01 68 69 1f 00 02 00 01 08 00 06 04 00 01 02 00 00 00 00 02 0a 00 00 02 \
         00 00 00 00 00 00 0a 00 00 01",
        "01 18 e9 87 00 00 00 00 00 00 00 fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01",
        "01 30 e9 86 00 00 00 40 00 07 08 00 00 00 00 00 00 00 00 03 04 40 c0 00 00 00 ff 00 00 00 ff 00 00 00 00 \
         20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 00",
        "01 10 b1 11 00 00 01 00 00 00 07 30 39 00 35 00 10 00 00 01 10 b1 11 00 00 08 00 00 00 07 68 69 68 69",
    ];
    fuzz(&samples.map(bytes), frames);
}
