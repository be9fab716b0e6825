//! Keyrings that a guest has nested to do harm.

use super::{Key, Keys, Kind, NewKey};
use crate::cred::Credentials;
use crate::namespace::UserNamespace;
use chitin_abi::Errno;
use std::sync::Arc;

fn ring(keys: &Keys, name: &str) -> Arc<Key> {
    make(keys, Kind::Keyring, name, 0)
}

fn make(keys: &Keys, kind: Kind, name: &str, length: usize) -> Arc<Key> {
    let new = NewKey {
        kind,
        description: name.into(),
        payload: vec![7; length],
        rights: None,
        charged: true,
        owner: Some(1000),
    };
    keys.create(&Credentials::root(UserNamespace::initial()), new).unwrap()
}

#[test]
fn a_long_chain_is_taken_apart_without_recursion() {
    let keys = Keys::default();
    let top = ring(&keys, "top");
    let new = |name: String| {
        let (kind, payload) = (Kind::Keyring, Vec::new());
        let description = name.into_bytes();
        let owner = Some(0);
        let new = NewKey { kind, description, payload, rights: None, charged: true, owner };
        keys.create(&Credentials::root(UserNamespace::initial()), new).unwrap()
    };
    let mut last = Arc::clone(&top);
    for number in 0..100_000 {
        let next = new(format!("{number}"));
        last.link(&next).unwrap();
        last = next;
    }
    drop(last);
    top.clear().unwrap();
    assert_eq!(keys.quota(0).0, (0, 0));
    assert_eq!(keys.quota(1000).0, (1, 4));
}

#[test]
fn circles_and_deep_children_are_refused() {
    let keys = Keys::default();
    let rings: Vec<_> = (0..8).map(|number| ring(&keys, &format!("{number}"))).collect();
    assert_eq!(rings[0].link(&rings[0]), Err(Errno::EDEADLK));
    for pair in rings[..6].windows(2) {
        pair[0].link(&pair[1]).unwrap();
    }
    assert_eq!(rings[5].link(&rings[0]), Err(Errno::EDEADLK));
    assert_eq!(rings[6].link(&rings[0]), Ok(()), "six levels");
    assert_eq!(rings[7].link(&rings[6]), Err(Errno::ELOOP));
}

#[test]
fn a_lattice_is_walked_in_no_time() {
    let keys = Keys::default();
    let layers: Vec<Vec<_>> = (0..6)
        .map(|layer| (0..20).map(|at| ring(&keys, &format!("{layer}-{at}"))).collect())
        .collect();
    for pair in layers.windows(2) {
        for upper in &pair[0] {
            for lower in &pair[1] {
                upper.link(lower).unwrap();
            }
        }
    }
    // Twenty to the sixth ways lead down.
    assert_eq!(ring(&keys, "top").link(&layers[0][0]), Ok(()));
    assert_eq!(layers[5][0].link(&layers[0][0]), Err(Errno::EDEADLK));
}

#[test]
fn payloads_and_links_count_as_long_as_they_last() {
    let keys = Keys::default();
    let used = || keys.quota(1000).0;
    let key = make(&keys, Kind::User, "abc", 10);
    let ring = ring(&keys, "r");
    assert_eq!(used(), (2, 14 + 2));
    ring.link(&key).unwrap();
    ring.link(&key).unwrap();
    assert_eq!(used(), (2, 14 + 2 + 4));
    assert_eq!(key.update(vec![0; 20_000]), Err(Errno::EDQUOT));
    key.update(vec![0; 1000]).unwrap();
    assert_eq!(used(), (2, 1004 + 2 + 4));
    key.update(vec![0; 1]).unwrap();
    ring.unlink(&key).unwrap();
    assert_eq!(used(), (2, 5 + 2));
    ring.link(&key).unwrap();
    drop(key);
    assert_eq!(used(), (2, 5 + 2 + 4));
    drop(ring);
    assert_eq!(used(), (0, 0));
}
