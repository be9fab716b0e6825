# needs: cargo
# slow
mkdir -p c/src && cd c && printf '[package]\nname = "c"\nversion = "0.1.0"\nedition = "2021"\n' > Cargo.toml
cat > src/main.rs <<'R'
use std::{thread, sync::mpsc, process::Command, time::Duration, collections::HashMap};
fn main() { let (t, r) = mpsc::channel(); for i in 0..8 { let t = t.clone(); thread::spawn(move || t.send(i).unwrap()); } drop(t); println!("{}", r.iter().sum::<i32>());
 let o = Command::new("echo").arg("child").output().unwrap(); print!("{}", String::from_utf8_lossy(&o.stdout)); thread::sleep(Duration::from_millis(10)); let m: HashMap<_, _> = [(1, 2)].into(); println!("{}", m[&1]); std::process::exit(3) }
R
CARGO_TARGET_DIR=t cargo build --offline -q && t/debug/c; echo $?
