//! The sandbox on a real network: a link to this machine, and a network namespace that was prepared for it.

mod common;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use common::skip;

/// Whether network namespaces can be made here.
fn is_able(test: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        skip(test, "needs root");
        return false;
    }
    let mut ip = Command::new("ip");
    let works = ip
        .args(["link", "show"])
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        skip(test, "the command ip is not installed");
    }
    works
}

fn runsc() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runsc"));
    command.stdin(Stdio::null());
    command
}

fn python(code: &str) -> [&str; 3] {
    ["/usr/bin/python3", "-c", code]
}

#[test]
fn a_link_to_this_machine_carries_both_ways() {
    if !is_able("a_link_to_this_machine_carries_both_ways") {
        return;
    }
    let server = TcpListener::bind("0.0.0.0:0").unwrap();
    let datagrams = UdpSocket::bind("0.0.0.0:0").unwrap();
    datagrams.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (port, udp) = (server.local_addr().unwrap().port(), datagrams.local_addr().unwrap().port());
    let data: Vec<u8> = (0..5_000_000_u32).map(|index| (index ^ index >> 8) as u8).collect();
    let sent = data.clone();
    let host = thread::spawn(move || {
        let (mut stream, peer) = server.accept().unwrap();
        let mut got = vec![0; sent.len()];
        stream.read_exact(&mut got).unwrap();
        assert!(got == sent, "what came is not what was sent");
        stream.write_all(&got).unwrap();
        let mut datagram = [0; 9000];
        let (length, from) = datagrams.recv_from(&mut datagram).unwrap();
        assert_eq!((length, from.ip()), (5000, peer.ip()));
        datagrams.send_to(&datagram[..length], from).unwrap();
    });
    let code = format!(
        "import socket
host = [l.split()[2] for l in open('/proc/net/route') if l.split()[1] == '00000000'][0]
host = '.'.join(str(b) for b in bytes.fromhex(host)[::-1])
data = bytes((i ^ i >> 8) & 255 for i in range(5000000))
s = socket.create_connection((host, {port}), 30)
s.sendall(data)
got = bytearray()
while len(got) < len(data):
    got += s.recv(1 << 20) or exit('early end')
assert got == data
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.settimeout(30)
u.sendto(data[:5000], (host, {udp}))
assert u.recv(9000) == data[:5000]
print('eth0:' in open('/proc/net/dev').read())"
    );
    let output = runsc().args(["--network=sandbox", "do"]).args(python(&code)).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert_eq!(output.stdout, b"True\n");
    host.join().unwrap();
}

#[test]
fn without_rights_it_says_what_to_do() {
    let mut command = runsc();
    command.args(["--network=host", "do", "/bin/true"]);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("--network=sandbox"), "{text}");
}

/// A network namespace with one end of a pair, as a CNI plugin leaves it.
struct Prepared {
    name: String,
}

impl Prepared {
    fn new() -> Self {
        let name = format!("chitin-test-{}", std::process::id());
        let outside = format!("ct{}", std::process::id() % 1_000_000);
        let steps = [
            format!("netns add {name}"),
            format!("link add {outside} type veth peer name eth0 netns {name}"),
            format!("addr add 198.51.100.1/24 dev {outside}"),
            format!("link set {outside} up"),
            format!("-n {name} addr add 198.51.100.7/24 dev eth0"),
            format!("-n {name} link set eth0 up"),
            format!("-n {name} link set lo up"),
            format!("-n {name} route add default via 198.51.100.1"),
        ];
        let prepared = Self { name };
        for step in steps {
            let status = Command::new("ip").args(step.split(' ')).status().unwrap();
            assert!(status.success(), "ip {step}");
        }
        prepared
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // The pair goes with it.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

#[test]
fn a_prepared_namespace_is_taken_over() {
    if !is_able("a_prepared_namespace_is_taken_over") {
        return;
    }
    let prepared = Prepared::new();
    let bundle = tempfile::tempdir().unwrap();
    let server = TcpListener::bind("198.51.100.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let code = format!(
        "import socket
s = socket.create_connection(('198.51.100.1', {port}), 30)
s.sendall(b'from ' + s.getsockname()[0].encode())"
    );
    let spec = serde_json::json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 }, "args": python(&code), "cwd": "/",
            "env": ["PATH=/usr/bin:/bin"],
        },
        "root": { "path": "/", "readonly": true },
        "linux": { "namespaces": [
            { "type": "pid" }, { "type": "mount" },
            { "type": "network", "path": format!("/var/run/netns/{}", prepared.name) },
        ] },
    });
    std::fs::write(bundle.path().join("config.json"), spec.to_string()).unwrap();
    let id = format!("network-{}", std::process::id());
    let root = tempfile::tempdir().unwrap();
    let mut child = runsc()
        .arg("--root")
        .arg(root.path())
        .args(["run", "--bundle"])
        .arg(bundle.path())
        .arg(&id)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    server.set_nonblocking(true).unwrap();
    let mut stream = None;
    for _ in 0..600 {
        stream = server.accept().ok();
        if stream.is_some() || child.try_wait().unwrap().is_some() {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let (mut stream, peer) = stream.unwrap_or_else(|| panic!("nobody came: {text}"));
    assert_eq!(peer.ip().to_string(), "198.51.100.7");
    stream.set_nonblocking(false).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert_eq!(said, "from 198.51.100.7");
    assert!(output.status.success(), "{text}");
}
