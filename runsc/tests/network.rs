//! The sandbox on a real network: a link to this machine, and a network namespace that was prepared for it.

mod common;

use std::io::{BufRead as _, Read as _, Write as _};
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

fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A network namespace with one end of a pair, as a CNI plugin leaves it.
struct Prepared {
    name: String,
}

impl Prepared {
    /// `number` is one of this test's own: the network is 198.51.NUMBER.0/24.
    fn new(number: u8) -> Self {
        let name = format!("chitin-test-{}-{number}", std::process::id());
        let outside = format!("ct{}-{number}", std::process::id() % 1_000_000);
        let prepared = Self { name: name.clone() };
        for step in [
            format!("netns add {name}"),
            format!("link add {outside} type veth peer name eth0 netns {name}"),
            format!("addr add 198.51.{number}.1/24 dev {outside}"),
            format!("link set {outside} up"),
            format!("-n {name} addr add 198.51.{number}.7/24 dev eth0"),
            format!("-n {name} link set eth0 up"),
            format!("-n {name} link set lo up"),
            format!("-n {name} route add default via 198.51.{number}.1"),
        ] {
            ip(&step);
        }
        prepared
    }

    fn path(&self) -> String {
        format!("/var/run/netns/{}", self.name)
    }
}

/// A bundle for a program on this machine's files, with a network namespace.
fn bundle(program: &[&str], namespace: &str) -> tempfile::TempDir {
    let bundle = tempfile::tempdir().unwrap();
    let spec = serde_json::json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 }, "args": program, "cwd": "/",
            "env": ["PATH=/usr/bin:/bin"],
        },
        "root": { "path": "/", "readonly": true },
        "linux": { "namespaces": [
            { "type": "pid" }, { "type": "mount" }, { "type": "network", "path": namespace },
        ] },
    });
    std::fs::write(bundle.path().join("config.json"), spec.to_string()).unwrap();
    bundle
}

/// Runs a container that cannot be started; gives what is said of it.
fn fails_to_run(options: &[&str], bundle: &tempfile::TempDir) -> String {
    let root = tempfile::tempdir().unwrap();
    let mut command = runsc();
    command.arg("--root").arg(root.path()).args(options).args(["run", "--bundle"]);
    let output = command.arg(bundle.path()).arg("network").output().unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
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
    let prepared = Prepared::new(100);
    let server = TcpListener::bind("198.51.100.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let code = format!(
        "import socket
s = socket.create_connection(('198.51.100.1', {port}), 30)
s.sendall(b'from ' + s.getsockname()[0].encode())"
    );
    let bundle = bundle(&python(&code), &prepared.path());
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

/// Who fixes what was wrong and starts again finds the namespace as it was.
#[test]
fn a_start_that_fails_gives_the_addresses_back() {
    if !is_able("a_start_that_fails_gives_the_addresses_back") {
        return;
    }
    let prepared = Prepared::new(101);
    let name = &prepared.name;
    ip(&format!("-n {name} addr add 198.51.101.8/24 dev eth0"));
    ip(&format!("-n {name} addr add 10.20.30.1 peer 10.20.30.2/32 dev eth0"));
    ip(&format!("-n {name} -6 addr add 2001:db8:7::7/64 dev eth0 nodad"));
    ip(&format!("-n {name} -6 route add default via 2001:db8:7::1"));
    ip(&format!("-n {name} route add 203.0.113.0/24 via 198.51.101.1 metric 7"));
    // What the host's kernel counts, and leaves out for a while after a change, is not compared.
    let seen = || {
        let mut lines: Vec<String> = Vec::new();
        for what in ["-4 -o addr show dev eth0", "-4 route", "-6 route", "-6 -o addr show dev eth0"]
        {
            let text = ip(&format!("-n {name} {what}"));
            let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
            lines.extend(text.lines().map(|text| line(text).replace(" tentative", "")));
        }
        lines.sort();
        lines
    };
    let before = seen();
    assert!(before.len() >= 10, "{before:?}");
    let bundle = bundle(&["/no/such/program"], &prepared.path());
    let text = fails_to_run(&[], &bundle);
    assert!(text.contains("/no/such/program"), "{text}");
    assert_eq!(seen(), before);
    assert!(!text.contains("back"), "{text}");
}

#[test]
fn a_namespace_that_cannot_be_used_is_refused() {
    if !is_able("a_namespace_that_cannot_be_used_is_refused") {
        return;
    }
    let own = bundle(&["/bin/true"], "/proc/self/ns/net");
    let before = ip("-o addr");
    let text = fails_to_run(&[], &own);
    assert!(text.contains("this machine's own"), "{text}");
    assert_eq!(ip("-o addr").lines().count(), before.lines().count());
    let prepared = Prepared::new(102);
    let bundle = bundle(&["/bin/true"], &prepared.path());
    ip(&format!("-n {} addr flush dev eth0", prepared.name));
    let text = fails_to_run(&[], &bundle);
    assert!(text.contains("eth0 has no address") && text.contains("--network=none"), "{text}");
    ip(&format!("-n {} link set eth0 down", prepared.name));
    let text = fails_to_run(&["--network=sandbox"], &bundle);
    assert!(text.contains("eth0 is down"), "{text}");
}

/// Sandboxes that start together, with state directories of their own, get links of their own.
#[test]
fn links_that_are_made_together_differ() {
    if !is_able("links_that_are_made_together_differ") {
        return;
    }
    let children: Vec<_> = (0..5)
        .map(|_| {
            let root = tempfile::tempdir().unwrap();
            let mut command = runsc();
            command.arg("--root").arg(root.path()).args(["--network=sandbox", "do"]);
            command.args(["/bin/sh", "-c", "cat /proc/net/route; read line"]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            (command.spawn().unwrap(), root)
        })
        .collect();
    let mut gateways = Vec::new();
    let mut all = Vec::new();
    for (mut child, root) in children {
        let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while line.split_whitespace().nth(1) != Some("00000000") {
            line.clear();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "no default route");
        }
        gateways.push(line.split_whitespace().nth(2).unwrap().to_owned());
        all.push((child, root));
    }
    for (mut child, _) in all {
        drop(child.stdin.take());
        child.wait().unwrap();
    }
    gateways.sort();
    gateways.dedup();
    assert_eq!(gateways.len(), 5, "{gateways:?}");
}
