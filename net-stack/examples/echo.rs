//! A TCP echo server and its client, each on a stack of its own, joined by a wire that loses one frame in ten.
//!
//! `cargo run -p chitin-net-stack --example echo`

use std::net::IpAddr;

use chitin_net_stack::link::{Faults, Wire, flatten};
use chitin_net_stack::wire::ethernet::Mac;
use chitin_net_stack::{Checksum, InterfaceConfig, InterfaceId, Medium, Stack, TcpOptions};

const MS: u64 = 1_000_000;

/// A stack with one Ethernet interface.
fn host(number: u8) -> Result<(Stack, InterfaceId), chitin_abi::Errno> {
    let mut stack = Stack::new(number.into());
    let id = stack.add_interface(InterfaceConfig {
        name: "eth0".into(),
        medium: Medium::Ethernet(Mac([2, 0, 0, 0, 0, number])),
        mtu: 1500,
        checksum_offload: false,
        segment_offload: 0,
    });
    stack.add_address(id, IpAddr::from([10, 0, 0, number]), 24)?;
    Ok((stack, id))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let faults = Faults { delay: 5 * MS, loss: 100_000, ..Faults::default() };
    let (mut client_host, interface) = host(1)?;
    let (mut server_host, _) = host(2)?;
    let mut wires = [Wire::new(faults, 1), Wire::new(faults, 2)];

    let listener = server_host.tcp_open(TcpOptions::default());
    server_host.bind(listener, "10.0.0.2:7".parse()?, false)?;
    server_host.listen(listener, 8)?;
    let client = client_host.tcp_open(TcpOptions::default());
    let mut now = 0;
    // The connection is made in the background.
    let _ = client_host.connect(client, "10.0.0.2:7".parse()?, now);

    let (mut accepted, mut sent, mut echo) = (None, false, Vec::new());
    while echo.len() < 5 {
        // What the stacks have to say goes on the wires, what has arrived goes to the stacks.
        let [there, back] = &mut wires;
        while let Some(frame) = client_host.transmit(interface) {
            flatten(&frame).into_iter().for_each(|bytes| there.send(bytes, now));
        }
        while let Some(frame) = server_host.transmit(interface) {
            flatten(&frame).into_iter().for_each(|bytes| back.send(bytes, now));
        }
        while let Some(frame) = there.receive(now) {
            server_host.receive(interface, &frame, Checksum::Verify, now);
        }
        while let Some(frame) = back.receive(now) {
            client_host.receive(interface, &frame, Checksum::Verify, now);
        }

        // The server sends back what it gets.
        accepted = accepted.or(server_host.accept(listener).ok());
        if let Some(connection) = accepted {
            let mut got = Vec::new();
            let mut take = |bytes: &[u8]| {
                got.extend_from_slice(bytes);
                Ok(bytes.len())
            };
            if server_host.tcp_receive(connection, 100, false, 0, &mut take).is_ok() {
                server_host.tcp_send(connection, &got, now)?;
            }
        }
        // The client sends once it is connected, and reads.
        if !sent && client_host.connect_result(client).is_ok() {
            client_host.tcp_send(client, b"hello", now)?;
            sent = true;
        }
        let mut take = |bytes: &[u8]| {
            echo.extend_from_slice(bytes);
            Ok(bytes.len())
        };
        let _ = client_host.tcp_receive(client, 100, false, 0, &mut take);

        // Time goes on to whatever happens next.
        let deadlines = [client_host.deadline(), server_host.deadline()];
        let arrivals = wires.iter().filter_map(Wire::deadline);
        now = deadlines.into_iter().flatten().chain(arrivals).min().unwrap_or(now).max(now + 1);
        client_host.advance(now);
        server_host.advance(now);
    }
    let lost: u64 = wires.iter().map(|wire| wire.lost).sum();
    println!(
        "echo: {:?} after {} ms, {lost} frames were lost",
        String::from_utf8_lossy(&echo),
        now / MS
    );
    Ok(())
}
