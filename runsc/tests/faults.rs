//! Processes of a sandbox killed from outside, at random moments and under load: nothing of it is left, its
//! neighbours do not notice, and a killed stub is a killed process to the guest.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Setup, children, descendants, eventually, kill, output, runs};

/// How long anything of a dead sandbox may be left. The target is one second; machines that run tests are busy.
const SOON: Duration = Duration::from_secs(2);
/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(20);

/// Pipes, forks and programs without an end, in three processes.
const LOAD: &str = "work() { while :; do echo x | cat | cat >/dev/null; (exit 3); /bin/true; done; }; \
                    work & work & work";

/// Whom a round kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Sentry,
    Stub,
    Command,
}

/// Random numbers that need not be good.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
        println!("seed {}", now.as_nanos() as u64);
        Self(now.as_nanos() as u64 | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn all_processes() -> Vec<i32> {
    let names = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.to_str()?.parse().ok()).collect()
}

fn pid_namespace(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

/// A sandbox whose processes can be told from all others.
struct Sandbox {
    command: Child,
    mark: String,
    namespaces: BTreeSet<PathBuf>,
    known: BTreeSet<i32>,
}

impl Sandbox {
    fn start(setup: &Setup, mark: &str, script: &str) -> Self {
        let mark = format!("{mark}-{}", std::process::id());
        let errors = fs::File::create(setup.path().join(&mark)).expect("a file");
        let command = runsc_do(setup, script, &mark).stderr(errors).spawn().expect("runsc starts");
        let (namespaces, known) = (BTreeSet::new(), BTreeSet::new());
        Self { command, mark, namespaces, known }
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.command.id()).expect("a pid")
    }

    fn sentry(&self) -> Option<i32> {
        children(self.pid()).first().copied()
    }

    fn stubs(&self) -> Vec<i32> {
        self.sentry().map(children).unwrap_or_default()
    }

    /// Remembers what there is now.
    fn look(&mut self) {
        let own = pid_namespace(std::process::id() as i32);
        let found = descendants(self.pid());
        let namespaces = found.iter().filter_map(|pid| pid_namespace(*pid));
        self.namespaces.extend(namespaces.filter(|namespace| Some(namespace) != own.as_ref()));
        self.known.extend(found);
    }

    /// Processes of this sandbox that still run.
    fn left(&self) -> Vec<i32> {
        let is_ours = |pid: &i32| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let is_marked = words.split(|byte| *byte == 0).any(|word| word == self.mark.as_bytes());
            let is_inside =
                pid_namespace(*pid).is_some_and(|namespace| self.namespaces.contains(&namespace));
            (is_marked || is_inside || self.known.contains(pid)) && runs(*pid)
        };
        all_processes().into_iter().filter(is_ours).collect()
    }

    /// Checks that nothing is left, soon.
    fn assert_gone(mut self, setup: &Setup, why: &str) {
        let begun = Instant::now();
        loop {
            let _ = self.command.try_wait();
            let left = self.left();
            if left.is_empty() {
                break;
            }
            assert!(begun.elapsed() < SOON, "{why}: {left:?} run after {SOON:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.command.wait();
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        let place = setup.path().to_str().expect("text");
        assert!(!mounts.contains(place), "{why}: a mount is left");
        let states = fs::read_dir(setup.path().join("state")).map_or(0, Iterator::count);
        assert_eq!(states, 0, "{why}: a state file is left");
        let errors = setup.path().join(&self.mark);
        let text = fs::read_to_string(&errors).expect("the file of errors");
        assert!(!text.contains("panicked"), "{why}: {text}");
    }
}

fn runsc_do(setup: &Setup, script: &str, mark: &str) -> Command {
    let rootfs = setup.path().join("rootfs");
    let rootfs = rootfs.to_str().expect("text");
    // The mark is `$0` of the script.
    setup.command(&["do", "--rootfs", rootfs, "/bin/sh", "-c", script, mark])
}

/// The lines of an output, read elsewhere: whoever waits for one waits for a limited time.
fn lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// A sandbox that answers.
struct Neighbour {
    command: Child,
    to: ChildStdin,
    from: Receiver<String>,
}

impl Neighbour {
    fn start(setup: &Setup) -> Self {
        let script = "while read -r line; do echo \"$line\" | cat; done";
        let mut command = runsc_do(setup, script, "neighbour");
        command.stdin(Stdio::piped()).stderr(Stdio::inherit());
        let mut command = command.spawn().expect("runsc starts");
        let to = command.stdin.take().expect("a pipe");
        let from = lines(command.stdout.take().expect("a pipe"));
        Self { command, to, from }
    }

    fn assert_well(&mut self, word: &str) {
        writeln!(self.to, "{word}").expect("it reads");
        let line = self.from.recv_timeout(START).expect("it answers in time");
        assert_eq!(line, word, "the neighbour is not well");
    }

    fn end(mut self) {
        drop(self.to);
        let status = self.command.wait().expect("it ends");
        assert!(status.success(), "the neighbour ended with {status}");
    }
}

fn strike(sandbox: &mut Sandbox, victim: Victim, random: &mut Random) -> bool {
    let target = match victim {
        Victim::Command => Some(sandbox.pid()),
        Victim::Sentry => sandbox.sentry(),
        Victim::Stub => {
            let stubs = sandbox.stubs();
            let index = random.below(stubs.len().max(1) as u64) as usize;
            stubs.get(index).copied()
        }
    };
    sandbox.look();
    let Some(target) = target else { return false };
    // It may have ended by itself.
    let mut kill = Command::new("kill");
    kill.args(["-KILL", &target.to_string()]).stderr(Stdio::null());
    kill.status().is_ok_and(|status| status.success())
}

fn rounds(name: &str, victim: Victim, count: usize) {
    let Some(setup) = Setup::new(name) else { return };
    let mut random = Random::new();
    let mut neighbour = Neighbour::start(&setup);
    neighbour.assert_well("begin");
    for round in 0..count {
        let mut sandbox = Sandbox::start(&setup, &format!("{name}-{round}"), LOAD);
        // The first rounds strike while it starts.
        if round >= 2 {
            eventually("a sandbox under load", START, || sandbox.stubs().len() >= 4);
        }
        std::thread::sleep(Duration::from_millis(random.below(250)));
        let struck = strike(&mut sandbox, victim, &mut random);
        if victim == Victim::Stub && struck {
            // One process of the guest has died, or all that it can make: no reason to hang.
            std::thread::sleep(Duration::from_millis(random.below(250)));
        }
        if victim == Victim::Stub || !struck {
            sandbox.look();
            let _ = sandbox.command.kill();
        }
        sandbox.assert_gone(&setup, &format!("{victim:?} killed, round {round}"));
        neighbour.assert_well(&format!("round{round}"));
    }
    neighbour.end();
}

#[test]
fn killing_the_sentry_leaves_nothing() {
    rounds("killing_the_sentry_leaves_nothing", Victim::Sentry, 6);
}

#[test]
fn killing_the_command_leaves_nothing() {
    rounds("killing_the_command_leaves_nothing", Victim::Command, 6);
}

#[test]
fn killing_stubs_harms_nobody_else() {
    rounds("killing_stubs_harms_nobody_else", Victim::Stub, 6);
}

/// Stubs of processes of the guest that sleep in a system call: none of them uses the processor, so nobody but the
/// host tells of their end.
#[test]
fn a_killed_stub_is_noticed_while_its_process_sleeps() {
    let name = "a_killed_stub_is_noticed_while_its_process_sleeps";
    let Some(setup) = Setup::new(name) else { return };
    for (what, sleeper) in
        [("nanosleep", "sleep 1000"), ("wait4", "sh -c 'sleep 1000; :'"), ("read", "cat /tmp/fifo")]
    {
        let script = format!(
            "mkfifo /tmp/fifo; exec 9<>/tmp/fifo; echo ready; {sleeper}; echo status $?; echo go on"
        );
        let mut child = runsc_do(&setup, &script, name).spawn().expect("runsc starts");
        let pid = i32::try_from(child.id()).expect("pid");
        let lines = lines(child.stdout.take().expect("a pipe"));
        let line = || lines.recv_timeout(START).expect("a line in time");
        assert_eq!(line(), "ready", "{what}");
        let sentry = children(pid)[0];
        let guests = || guests(sentry);
        let count = if what == "wait4" { 3 } else { 2 };
        eventually("guests", START, || guests().len() == count);
        // Until it sleeps in the call.
        std::thread::sleep(Duration::from_millis(300));
        // In the order of their births: the shell, what it started, and what that started.
        let victim = guests()[1];
        let begun = Instant::now();
        kill(victim, "KILL");
        assert_eq!(line(), "status 137", "{what}");
        assert!(begun.elapsed() < SOON, "{what}: noticed after {:?}", begun.elapsed());
        assert_eq!(line(), "go on", "{what}");
        let status = output(child).status;
        assert!(status.success(), "{what}: {status}");
    }
}

/// The first process of the sandbox: its end is that of the sandbox.
#[test]
fn the_stub_of_the_first_process_ends_the_sandbox() {
    let name = "the_stub_of_the_first_process_ends_the_sandbox";
    let Some(setup) = Setup::new(name) else { return };
    let mut child = runsc_do(&setup, "echo ready; sleep 1000; :", name).spawn().expect("runsc");
    let pid = i32::try_from(child.id()).expect("pid");
    let lines = lines(child.stdout.take().expect("a pipe"));
    assert_eq!(lines.recv_timeout(START).expect("a line in time"), "ready");
    let sentry = children(pid)[0];
    eventually("guests", START, || guests(sentry).len() == 2);
    let all = descendants(pid);
    let begun = Instant::now();
    kill(guests(sentry)[0], "KILL");
    let status = output(child).status;
    assert_eq!(status.code(), Some(137), "{status}");
    assert!(begun.elapsed() < SOON, "ended after {:?}", begun.elapsed());
    eventually("all are gone", SOON, || all.iter().all(|pid| !runs(*pid)));
}

/// Stubs with a guest, the oldest first: they have a thread besides their first one, and memory. What a process has left
/// for the next has a thread, too, but next to no memory.
fn guests(sentry: i32) -> Vec<i32> {
    let busy = |stub: &i32| {
        let directory = Path::new("/proc").join(stub.to_string());
        let tasks = fs::read_dir(directory.join("task")).map_or(0, Iterator::count);
        let memory = fs::read_to_string(directory.join("statm")).unwrap_or_default();
        let pages = memory.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
        tasks > 1 && pages > 32
    };
    let mut stubs: Vec<i32> = children(sentry).into_iter().filter(busy).collect();
    stubs.sort_unstable();
    stubs
}
