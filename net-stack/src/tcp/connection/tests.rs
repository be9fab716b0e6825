//! A connection by itself, segment by segment.

use alloc::vec::Vec;

use super::*;
use crate::settings::Settings;
use crate::tcp::TcpOptions;
use crate::tcp::TcpSocket;

const MS: u64 = 1_000_000;

fn connection(path: Path) -> Connection {
    let end: SocketAddr = "10.0.0.1:80".parse().unwrap();
    let options = TcpOptions {
        send_buffer: Some(1 << 20),
        receive_buffer: Some(100_000),
        no_delay: true,
        ..TcpOptions::default()
    };
    let choices = TcpSocket::new(options).choices(&Settings::default(), false);
    Connection::new(
        &Opening {
            local: end,
            remote: end,
            snd_nxt: Seq(100),
            rcv_nxt: Seq(200),
            snd_wnd: 60_000,
            path,
            choices,
        },
        0,
    )
}

fn path() -> Path {
    Path { mss: 1000, sack: true, ..Path::default() }
}

/// Has it send data; says which sequence numbers.
fn send(connection: &mut Connection, bytes: usize, now: u64) -> Vec<(u32, usize)> {
    let mut out = Vec::new();
    connection.send.push(Bytes::from(alloc::vec![7; bytes]));
    connection.transmit(now, &mut out);
    shown(&out)
}

fn shown(out: &[Segment]) -> Vec<(u32, usize)> {
    out.iter().map(|(header, payload)| (header.seq.0, payload.len())).collect()
}

fn ack(connection: &mut Connection, ack: u32, sacks: &[(u32, u32)], now: u64) -> Vec<(u32, usize)> {
    let mut header = Repr { seq: Seq(200), ack: Some(Seq(ack)), window: 60_000, ..Repr::default() };
    for (start, end) in sacks {
        header.sacks.push((Seq(*start), Seq(*end)));
    }
    let mut out = Vec::new();
    assert_eq!(connection.input(&header, Bytes::new(), false, now, &mut out), Outcome::Open);
    shown(&out)
}

fn wait(connection: &mut Connection, now: u64) -> Vec<(u32, usize)> {
    let mut out = Vec::new();
    assert_eq!(connection.on_time(now, &mut out), Outcome::Open);
    shown(&out)
}

fn data(
    connection: &mut Connection,
    seq: u32,
    bytes: &'static [u8],
    now: u64,
) -> Vec<(u32, Vec<(u32, u32)>)> {
    let header = Repr { seq: Seq(seq), ack: Some(Seq(100)), window: 60_000, ..Repr::default() };
    let mut out = Vec::new();
    connection.input(&header, Bytes::from_static(bytes), false, now, &mut out);
    let of = |(header, _): &Segment| {
        let sacks = header.sacks.as_slice().iter().map(|(start, end)| (start.0, end.0)).collect();
        (header.ack.unwrap().0, sacks)
    };
    out.iter().map(of).collect()
}

#[test]
fn sides_that_were_led_apart_do_not_answer_each_other_for_ever() {
    let mut connection = connection(Path { lossless: true, ..path() });
    assert_eq!(data(&mut connection, 200, b"forged", 0).len(), 1);
    // Now the true peer is behind.
    assert_eq!(data(&mut connection, 200, b"x", 0).len(), 1, "data is acknowledged");
    assert_eq!(data(&mut connection, 200, b"", 0).len(), 0, "an acknowledgement is not");
}

#[test]
fn three_segments_behind_a_gap_bring_back_what_is_missing() {
    let mut connection = connection(path());
    assert_eq!(send(&mut connection, 8000, 0).len(), 8);
    assert!(ack(&mut connection, 1100, &[], 50 * MS).is_empty());
    assert!(ack(&mut connection, 1100, &[(2100, 3100)], 51 * MS).is_empty());
    assert!(ack(&mut connection, 1100, &[(2100, 4100)], 52 * MS).is_empty());
    assert_eq!(ack(&mut connection, 1100, &[(2100, 5100)], 53 * MS), [(1100, 1000)]);
    assert_eq!(connection.repair, Repair::Fast(Seq(8100)));
    assert!(ack(&mut connection, 8100, &[], 103 * MS).is_empty());
    assert_eq!(connection.repair, Repair::None);
    assert!(connection.congestion.window < 10_000 && connection.deadline().is_none());
}

#[test]
fn without_selective_acknowledgements_duplicates_count() {
    let mut connection = connection(Path { sack: false, ..path() });
    send(&mut connection, 8000, 0);
    ack(&mut connection, 1100, &[], 50 * MS);
    for _ in 0..2 {
        assert!(ack(&mut connection, 1100, &[], 50 * MS).is_empty());
    }
    assert_eq!(ack(&mut connection, 1100, &[], 50 * MS), [(1100, 1000)]);
    // A partial acknowledgement: the next one is missing too.
    assert_eq!(ack(&mut connection, 3100, &[], 100 * MS), [(3100, 1000)]);
}

#[test]
fn silence_brings_a_probe_then_everything_again() {
    let mut connection = connection(path());
    send(&mut connection, 1000, 0);
    ack(&mut connection, 1100, &[], 50 * MS);
    send(&mut connection, 3000, 60 * MS);
    let probe = connection.deadline().unwrap();
    assert_eq!(probe, 160 * MS);
    assert_eq!(wait(&mut connection, probe), [(3100, 1000)], "the last one");
    let timeout = connection.deadline().unwrap();
    assert_eq!(wait(&mut connection, timeout), [(1100, 1000)]);
    assert_eq!(connection.congestion.window, 1000);
    let second = connection.deadline().unwrap() - timeout;
    assert!(second > 400 * MS, "twice as long: {second}");
    assert_eq!(ack(&mut connection, 2100, &[], timeout + 50 * MS), [(2100, 1000), (3100, 1000)]);
}

#[test]
fn the_peer_is_given_up_after_so_many_tries() {
    let mut connection = connection(path());
    send(&mut connection, 10, 0);
    let mut tries = 0;
    loop {
        let at = connection.deadline().unwrap();
        let mut out = Vec::new();
        if connection.on_time(at, &mut out) == Outcome::TimedOut {
            break;
        }
        tries += 1;
    }
    assert_eq!(tries, 15);
}

#[test]
fn a_closed_window_is_asked_about() {
    let mut connection = connection(path());
    let header = Repr { seq: Seq(200), ack: Some(Seq(100)), window: 0, ..Repr::default() };
    let mut out = Vec::new();
    connection.input(&header, Bytes::new(), false, 0, &mut out);
    assert!(send(&mut connection, 100, 0).is_empty());
    let at = connection.deadline().unwrap();
    assert_eq!(wait(&mut connection, at), [(99, 0)]);
    assert!(connection.deadline().unwrap() > at);
    assert_eq!(ack(&mut connection, 100, &[], at + MS), [(100, 100)]);
}

#[test]
fn gaps_are_told_and_duplicates_too() {
    let mut connection = connection(path());
    assert_eq!(data(&mut connection, 203, b"def", 0), [(200, alloc::vec![(203, 206)])]);
    assert_eq!(data(&mut connection, 209, b"jkl", 0), [(200, alloc::vec![(209, 212), (203, 206)])]);
    assert_eq!(data(&mut connection, 200, b"abc", 0), [(206, alloc::vec![(209, 212)])]);
    let twice = data(&mut connection, 200, b"abc", 0);
    assert_eq!(twice, [(206, alloc::vec![(200, 203), (209, 212)])]);
    assert_eq!(data(&mut connection, 206, b"ghi", 0), [(212, alloc::vec![])]);
    assert_eq!(connection.receive.slice(0, 99).len(), 12);
}

#[test]
fn acknowledgements_are_held_back_after_the_beginning() {
    let mut connection = connection(path());
    let mut at_once = 0;
    for seq in 200..200 + QUICK {
        at_once += data(&mut connection, seq, b"x", 0).len();
    }
    assert_eq!(at_once, QUICK as usize - 1);
    assert_eq!(wait(&mut connection, 40 * MS), [(100, 0)]);
    assert!(connection.deadline().is_none());
}

#[test]
fn strange_resets_and_syns_are_challenged() {
    let mut connection = connection(path());
    let mut out = Vec::new();
    let strange = Repr { seq: Seq(300), rst: true, ..Repr::default() };
    assert_eq!(connection.input(&strange, Bytes::new(), false, 1000 * MS, &mut out), Outcome::Open);
    assert_eq!(out.len(), 1);
    let syn = Repr { seq: Seq(300), syn: true, ack: Some(Seq(100)), ..Repr::default() };
    connection.input(&syn, Bytes::new(), false, 1001 * MS, &mut out);
    assert_eq!(out.len(), 1, "not too often");
    let exact = Repr { seq: Seq(200), rst: true, ..Repr::default() };
    assert_eq!(connection.input(&exact, Bytes::new(), false, 1002 * MS, &mut out), Outcome::Reset);
}

#[test]
fn old_clocks_are_refused() {
    let timestamps = Some(1000);
    let mut connection = connection(Path { timestamps, ..path() });
    let mut out = Vec::new();
    let header = Repr {
        seq: Seq(200),
        ack: Some(Seq(100)),
        window: 1,
        timestamps: Some((999, 0)),
        ..Repr::default()
    };
    connection.input(&header, Bytes::from_static(b"old"), false, 0, &mut out);
    assert_eq!((connection.receive.len(), out.len()), (0, 1));
    let header = Repr { timestamps: Some((1001, 0)), ..header };
    connection.input(&header, Bytes::from_static(b"new"), false, 0, &mut out);
    assert_eq!(connection.receive.len(), 3);
    assert_eq!(out[1].0.timestamps.unwrap().1, 1001);
}

#[test]
fn small_segments_wait_unless_they_are_not_to() {
    let mut connection = connection(path());
    connection.choices.no_delay = false;
    assert_eq!(send(&mut connection, 10, 0), [(100, 10)]);
    assert!(send(&mut connection, 10, 0).is_empty(), "Nagle");
    assert_eq!(send(&mut connection, 990, 0), [(110, 1000)]);
    assert_eq!(ack(&mut connection, 1110, &[], 0), []);
    connection.choices.cork = true;
    assert!(send(&mut connection, 10, 0).is_empty(), "cork");
    connection.choices.cork = false;
    assert_eq!(send(&mut connection, 1, 0), [(1110, 11)]);
}

#[test]
fn keepalive_asks_and_gives_up() {
    let mut connection = connection(path());
    let mut choices = connection.choices;
    choices.keepalive = Some((1000 * MS, 100 * MS, 2));
    connection.choose(choices, 0);
    assert_eq!(connection.deadline(), Some(1000 * MS));
    data(&mut connection, 200, b"x", 500 * MS);
    assert!(wait(&mut connection, 1000 * MS).is_empty());
    assert_eq!(wait(&mut connection, 1500 * MS), [(99, 0)]);
    assert_eq!(wait(&mut connection, 1600 * MS), [(99, 0)]);
    let mut out = Vec::new();
    assert_eq!(connection.on_time(1700 * MS, &mut out), Outcome::TimedOut);
}
