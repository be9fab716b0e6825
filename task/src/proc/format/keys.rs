//! `/proc/keys` and `/proc/key-users`.

use std::sync::Arc;

use crate::cred::Credentials;
use crate::keys::{Key, Kind};

/// A key's line: number, flags, holders, time left, rights, owner, type, description with a summary.
pub fn line(key: &Arc<Key>, cred: &Credentials, now: u64) -> String {
    let (uid, gid, rights) = key.attributes();
    let revoked = match key.validate(now) {
        Err(chitin_abi::Errno::EKEYREVOKED) => 'R',
        _ => '-',
    };
    let summary = match key.kind() {
        Kind::Keyring => match key.links().len() {
            0 => "empty".to_owned(),
            links => links.to_string(),
        },
        Kind::User | Kind::Logon => key.payload().len().to_string(),
    };
    format!(
        "{:08x} I{revoked}-Q--- {:5} {} {rights:08x} {:5} {:5} {:<9} {}: {summary}\n",
        key.serial(),
        Arc::strong_count(key).saturating_sub(1),
        expiry(key, now),
        cred.show_uid(uid),
        cred.show_gid(gid),
        key.kind().name(),
        String::from_utf8_lossy(key.description()),
    )
}

/// The time that a key has left, in four columns.
fn expiry(key: &Key, now: u64) -> String {
    let Some(at) = key.expires() else { return "perm".to_owned() };
    match at.saturating_sub(now) / 1_000_000_000 {
        0 => "expd".to_owned(),
        left @ 1..60 => format!("{left:3}s"),
        left @ 60..3600 => format!("{:3}m", left / 60),
        left @ 3600..86_400 => format!("{:3}h", left / 3600),
        left @ 86_400..604_800 => format!("{:3}d", left / 86_400),
        left => format!("{:3}w", left / 604_800),
    }
}

/// A user's line: keys, keys in use, and what they take of the quota.
pub fn user_line(uid: u32, used: (u64, u64), most: (u64, u64)) -> String {
    let ((keys, bytes), (most_keys, most_bytes)) = (used, most);
    format!("{uid:5}: {keys:5} {keys}/{keys} {keys}/{most_keys} {bytes}/{most_bytes}\n")
}
