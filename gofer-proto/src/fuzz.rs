//! What a fuzzer runs: the body of a fuzz target, as an ordinary function.

use alloc::vec::Vec;

use chitin_abi::{Errno, Result};

use crate::client::Client;
use crate::handler::{Handler, Made};
use crate::message::{
    Attr, DirEntry, NewFile, QID_DIR, Qid, Reply, Request, StatFs, dir_entries_attr,
};
use crate::name::Name;
use crate::server::Server;
use crate::wire::{Inbox, MAX_MESSAGE};

/// A tree in which every name exists and is a directory.
struct Endless;

fn qid(depth: u32) -> Qid {
    Qid { kind: QID_DIR, version: 0, path: u64::from(depth) }
}

impl Handler for Endless {
    type Node = u32;
    type File = u32;
    type Descriptor = u32;

    fn attach(&mut self, _name: &[u8], _uid: u32) -> Result<(u32, Qid)> {
        Ok((0, qid(0)))
    }

    fn duplicate(&mut self, node: &u32) -> Result<u32> {
        Ok(*node)
    }

    fn walk(&mut self, dir: &u32, name: Name<'_>) -> Result<(u32, Qid)> {
        if name.bytes() == b"none" {
            return Err(Errno::ENOENT);
        }
        let next = dir.wrapping_add(1);
        Ok((next, qid(next)))
    }

    fn get_attr(&mut self, node: &u32, _file: Option<&u32>, mask: u64) -> Result<Attr> {
        Ok(Attr { valid: mask, qid: qid(*node), ..Attr::default() })
    }

    fn open(&mut self, node: &u32, _flags: u32) -> Result<(u32, Qid)> {
        Ok((*node, qid(*node)))
    }

    fn read(&mut self, _file: &mut u32, _offset: u64, count: u32, out: &mut Vec<u8>) -> Result<()> {
        out.resize(count as usize, 7);
        Ok(())
    }

    fn read_dir(
        &mut self,
        _file: &mut u32,
        offset: u64,
        emit: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<()> {
        for next in (offset.saturating_add(1)..).take(100) {
            if !emit(DirEntry { qid: qid(0), offset: next, kind: 4, name: b"entry" }) {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&mut self, _node: &u32) -> Result<Vec<u8>> {
        Err(Errno::EINVAL)
    }

    fn stat_fs(&mut self, _node: &u32) -> Result<StatFs> {
        Ok(StatFs::default())
    }

    fn set_xattr(&mut self, _node: &u32, _name: &[u8], _value: &[u8], _flags: u32) -> Result<()> {
        Ok(())
    }

    fn make(
        &mut self,
        dir: &u32,
        _name: Name<'_>,
        new: &NewFile,
        _target: &[u8],
    ) -> Result<Made<u32, u32>> {
        let attr = Attr { mode: new.mode, ..Attr::default() };
        Ok(Made { node: *dir, attr, descriptor: Some(*dir) })
    }

    fn donate(&mut self, node: &u32, _flags: u32) -> Result<(u32, Qid)> {
        Ok((*node, qid(*node)))
    }
}

/// Feeds hostile bytes to a server and a client, and checks that what decodes encodes to the same bytes.
///
/// # Panics
/// When something is wrong with the crate.
pub fn run(data: &[u8]) {
    let mut server = Server::with_limit(Endless, 64);
    let mut hello = Vec::new();
    Client::new().begin(&mut hello);
    for chunk in [&hello, data] {
        server.receive(chunk);
        while let Ok(Some(outgoing)) = server.next_outgoing() {
            assert!(outgoing.bytes.len() <= MAX_MESSAGE as usize, "a reply is larger than agreed");
        }
    }
    assert!(server.fid_count() <= 64, "more fids than allowed");
    let mut client = Client::new();
    client.begin(&mut Vec::new());
    client.receive(data);
    while let Ok(Some(answer)) = client.next_answer() {
        if let Ok(Reply::ReadDirAttr { entries }) = answer.reply() {
            let _ = dir_entries_attr(entries.0);
        }
    }
    let mut inbox = Inbox::new(MAX_MESSAGE);
    inbox.push(data);
    while let Ok(Some(frame)) = inbox.next_frame() {
        let mut again = Vec::new();
        if let Ok(request) = Request::decode(&frame, true) {
            request.encode(frame.tag, &mut again);
            assert_eq!(again.get(7..), Some(&*frame.body), "a request changed");
        }
        again.clear();
        if let Ok(reply) = Reply::decode(&frame, true) {
            reply.encode(frame.tag, &mut again);
            assert_eq!(again.get(7..), Some(&*frame.body), "a reply changed");
        }
    }
}
