use std::collections::BTreeMap;
use std::string::String;
use std::vec;
use std::vec::Vec;

use chitin_abi::{Errno, Result};

use crate::client::{Answer, Client, ClientError, Fids};
use crate::donate::Received;
use crate::handler::{Handler, Made};
use crate::message::{
    Attr, Data, DirEntry, List, NO_FID, NO_TAG, NewFile, QID_DIR, QID_FILE, Qid, Reply, Request,
    SetAttr, SetAttrMask, ShortList, StatFs, Text, Time, VERSION_PLAIN, Walked, dir_entries,
    dir_entries_attr,
};
use crate::name::Name;
use crate::server::Server;
use crate::wire::{DecodeError, Frame, Inbox, MAX_MESSAGE};

fn name(bytes: &[u8]) -> Name<'_> {
    Name::new(bytes).unwrap()
}

const NEW: NewFile = NewFile { mode: 0o100_644, uid: 1, gid: 2, rdev: 3 };

fn requests() -> Vec<Request<'static>> {
    let time = Time { sec: 1, nsec: 2 };
    let change = SetAttr {
        valid: SetAttrMask::MODE | SetAttrMask::MTIME_SET,
        mode: 0o644,
        uid: 1,
        gid: 2,
        size: 3,
        atime: time,
        mtime: time,
    };
    vec![
        Request::StatFs { fid: 1 },
        Request::Open { fid: 1, flags: 2 },
        Request::Create { fid: 1, name: name(b"f"), flags: 2, mode: 3, gid: 4 },
        Request::Symlink { dir: 1, name: name(b"l"), target: Text(b"../x"), gid: 4 },
        Request::MakeNode { dir: 1, name: name(b"n"), mode: 1, major: 2, minor: 3, gid: 4 },
        Request::Rename { fid: 1, dir: 2, name: name(b"n") },
        Request::ReadLink { fid: 1 },
        Request::GetAttr { fid: 1, mask: 2 },
        Request::SetAttr { fid: 1, change },
        Request::XattrWalk { fid: 1, new_fid: 2, name: Text(b"user.x") },
        Request::XattrCreate { fid: 1, name: Text(b"user.x"), size: 3, flags: 0 },
        Request::ReadDir { fid: 1, offset: 2, count: 3 },
        Request::Sync { fid: 1, data_only: 1 },
        Request::Lock {
            fid: 1,
            kind: 1,
            flags: 1,
            start: 2,
            length: 3,
            process: 4,
            client: Text(b"me"),
        },
        Request::GetLock { fid: 1, kind: 1, start: 2, length: 3, process: 4, client: Text(b"me") },
        Request::Link { dir: 1, fid: 2, name: name(b"n") },
        Request::MakeDir { dir: 1, name: name(b"d"), mode: 2, gid: 3 },
        Request::RenameAt { old_dir: 1, old_name: name(b"a"), new_dir: 2, new_name: name(b"b") },
        Request::UnlinkAt { dir: 1, name: name(b"a"), flags: 0 },
        Request::Version { message_size: 8192, version: Text(VERSION_PLAIN) },
        Request::Auth { afid: NO_FID, user: Text(b"u"), name: Text(b"n"), uid: 0 },
        Request::Attach { fid: 1, afid: NO_FID, user: Text(b"u"), name: Text(b"n"), uid: 0 },
        Request::Flush { old_tag: 9 },
        Request::Walk { fid: 1, new_fid: 2, names: ShortList(vec![name(b"a"), name(b"b")]) },
        Request::Read { fid: 1, offset: 2, count: 3 },
        Request::Write { fid: 1, offset: 2, data: Data(b"data") },
        Request::Clunk { fid: 1 },
        Request::Remove { fid: 1 },
        Request::WalkAttr { fid: 1, new_fid: 2, names: List(vec![name(b"a")]) },
        Request::Donate { fid: 1, flags: 2 },
        Request::ClunkMany { fids: List(vec![1, 2, 3]) },
        Request::Allocate { fid: 1, mode: 2, offset: 3, length: 4 },
        Request::RenameFlags {
            old_dir: 1,
            old_name: name(b"a"),
            new_dir: 2,
            new_name: name(b"b"),
            flags: 1,
        },
        Request::XattrRemove { fid: 1, name: Text(b"user.x") },
        Request::ReadDirAttr { fid: 1, offset: 2, count: 3 },
        Request::OpenAt { fid: 1, new_fid: 2, names: List(vec![name(b"a")]), flags: 3 },
        Request::OpenDir { fid: 1, new_fid: 2 },
        Request::Make { dir: 1, new_fid: 2, name: name(b"m"), file: NEW, target: Text(b"t") },
        Request::MakeUnnamed { dir: 1, new_fid: 2, file: NEW },
        Request::XattrGet { fid: 1, name: Text(b"user.x") },
        Request::XattrList { fid: 1 },
        Request::XattrSet { fid: 1, name: Text(b"user.x"), value: Data(b"v"), flags: 1 },
    ]
}

fn replies() -> Vec<Reply<'static>> {
    let qid = Qid { kind: QID_DIR, version: 1, path: 2 };
    let attr = Attr { qid, size: 77, ..Attr::default() };
    vec![
        Reply::Error { number: 2 },
        Reply::StatFs { stats: StatFs { blocks: 5, ..StatFs::default() } },
        Reply::Open { qid, io_unit: 4 },
        Reply::Create { qid, io_unit: 4 },
        Reply::Symlink { qid },
        Reply::MakeNode { qid },
        Reply::Rename {},
        Reply::ReadLink { target: Text(b"x") },
        Reply::GetAttr { attr },
        Reply::SetAttr {},
        Reply::XattrWalk { size: 1 },
        Reply::XattrCreate {},
        Reply::ReadDir { entries: Data(b"") },
        Reply::Sync {},
        Reply::Lock { status: 1 },
        Reply::GetLock { kind: 2, start: 1, length: 2, process: 3, client: Text(b"me") },
        Reply::Link {},
        Reply::MakeDir { qid },
        Reply::RenameAt {},
        Reply::UnlinkAt {},
        Reply::Version { message_size: 8192, version: Text(VERSION_PLAIN) },
        Reply::Auth { qid },
        Reply::Attach { qid },
        Reply::Flush {},
        Reply::Walk { qids: ShortList(vec![qid, qid]) },
        Reply::Read { data: Data(b"data") },
        Reply::Write { count: 4 },
        Reply::Clunk {},
        Reply::Remove {},
        Reply::WalkAttr { number: 2, steps: List(vec![Walked { qid, attr }]) },
        Reply::Donate { qid },
        Reply::ReadDirAttr { entries: Data(b"") },
        Reply::OpenAt { number: 0, steps: List(vec![Walked { qid, attr }]), donated: 1 },
        Reply::OpenDir { qid },
        Reply::Make { made: Walked { qid, attr }, donated: 1 },
        Reply::MakeUnnamed { made: Walked { qid, attr }, donated: 0 },
        Reply::XattrGet { value: Data(b"v") },
        Reply::XattrList { names: Data(b"user.x\0") },
        Reply::XattrSet {},
        Reply::ClunkMany {},
        Reply::Allocate {},
        Reply::RenameFlags {},
        Reply::XattrRemove {},
    ]
}

fn frame(bytes: &[u8]) -> Frame {
    let mut inbox = Inbox::new(MAX_MESSAGE);
    inbox.push(bytes);
    let frame = inbox.next_frame().unwrap().unwrap();
    assert_eq!(inbox.waiting(), 0);
    frame
}

#[test]
fn every_message_survives_the_wire_and_no_part_of_one_does() {
    let mut kinds = Vec::new();
    for request in requests() {
        let mut bytes = Vec::new();
        request.encode(5, &mut bytes);
        let frame = frame(&bytes);
        assert_eq!(Request::decode(&frame, true).as_ref(), Ok(&request));
        kinds.push(request.kind());
        check_parts(&frame, |part| Request::decode(part, true).err());
    }
    for reply in replies() {
        let mut bytes = Vec::new();
        reply.encode(5, &mut bytes);
        let frame = frame(&bytes);
        assert_eq!(Reply::decode(&frame, true).as_ref(), Ok(&reply));
        kinds.push(reply.kind());
        check_parts(&frame, |part| Reply::decode(part, true).err());
    }
    let count = kinds.len();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), count);
}

fn check_parts(frame: &Frame, decode: impl Fn(&Frame) -> Option<DecodeError>) {
    for length in 0..frame.body.len() {
        let part = Frame { body: frame.body[..length].to_vec(), ..frame.clone() };
        assert!(decode(&part).is_some(), "{} bytes of type {}", length, frame.kind);
    }
    let mut longer = frame.clone();
    longer.body.push(0);
    assert!(decode(&longer).is_some());
}

#[test]
fn the_bytes_are_those_of_the_protocol() {
    let mut bytes = Vec::new();
    Request::Version { message_size: 8192, version: Text(VERSION_PLAIN) }
        .encode(NO_TAG, &mut bytes);
    assert_eq!(bytes, b"\x15\0\0\0\x64\xff\xff\0\x20\0\0\x08\x009P2000.L");
    bytes.clear();
    Request::Walk { fid: 1, new_fid: 2, names: ShortList(vec![name(b"usr")]) }
        .encode(3, &mut bytes);
    assert_eq!(bytes, b"\x16\0\0\0\x6e\x03\0\x01\0\0\0\x02\0\0\0\x01\0\x03\0usr");
    bytes.clear();
    Reply::Error { number: 2 }.encode(3, &mut bytes);
    assert_eq!(bytes, b"\x0b\0\0\0\x07\x03\0\x02\0\0\0");
    bytes.clear();
    Reply::GetAttr { attr: Attr::default() }.encode(3, &mut bytes);
    assert_eq!(bytes.len(), 7 + 8 + 13 + 4 * 3 + 8 * 5 + 8 * 8 + 16);
}

#[test]
fn frames_have_limits() {
    for (size, result) in [(6u32, true), (0, true), (4097, true), (7, false)] {
        let mut inbox = Inbox::new(4096);
        inbox.push(&size.to_le_bytes());
        assert_eq!(inbox.next_frame().is_err(), result, "{size}");
    }
    let mut inbox = Inbox::new(4096);
    let mut bytes = Vec::new();
    Request::Clunk { fid: 1 }.encode(1, &mut bytes);
    for byte in &bytes[..bytes.len() - 1] {
        inbox.push(&[*byte]);
        assert_eq!(inbox.next_frame(), Ok(None));
    }
    inbox.push(&bytes[bytes.len() - 1..]);
    assert!(inbox.next_frame().unwrap().is_some());
    let many = Frame { kind: 110, tag: 1, body: b"\x01\0\0\0\x02\0\0\0\x11\0".to_vec() };
    assert_eq!(Request::decode(&many, false), Err(DecodeError::TooMany));
    let dots = Frame { kind: 110, tag: 1, body: b"\x01\0\0\0\x02\0\0\0\x01\0\x02\0..".to_vec() };
    assert_eq!(Request::decode(&dots, false), Err(DecodeError::BadName));
    let extended = Frame { kind: 202, tag: 1, body: vec![0; 8] };
    assert_eq!(Request::decode(&extended, false), Err(DecodeError::UnknownType(202)));
}

/// A tree in memory: paths and contents; directories end in `/`.
#[derive(Default)]
struct Memory {
    files: BTreeMap<String, Vec<u8>>,
    xattrs: BTreeMap<(String, Vec<u8>), Vec<u8>>,
}

impl Memory {
    fn new() -> Self {
        let mut memory = Self::default();
        for dir in ["/", "/d/", "/d/e/"] {
            memory.files.insert(dir.into(), Vec::new());
        }
        memory.files.insert("/d/e/f".into(), b"contents".to_vec());
        memory
    }

    fn qid(path: &str) -> Qid {
        let kind = if path.ends_with('/') { QID_DIR } else { QID_FILE };
        let path =
            path.bytes().fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        Qid { kind, version: 0, path }
    }
}

impl Handler for Memory {
    type Node = String;
    type File = String;
    type Descriptor = String;

    fn attach(&mut self, name: &[u8], _uid: u32) -> Result<(String, Qid)> {
        if name.is_empty() { Ok(("/".into(), Self::qid("/"))) } else { Err(Errno::ENOENT) }
    }

    fn duplicate(&mut self, node: &String) -> Result<String> {
        Ok(node.clone())
    }

    fn walk(&mut self, dir: &String, name: Name<'_>) -> Result<(String, Qid)> {
        if !dir.ends_with('/') {
            return Err(Errno::ENOTDIR);
        }
        let path = std::format!("{dir}{}", String::from_utf8_lossy(name.bytes()));
        let candidates = [std::format!("{path}/"), path];
        let found = candidates
            .into_iter()
            .find(|path| self.files.contains_key(path))
            .ok_or(Errno::ENOENT)?;
        let qid = Self::qid(&found);
        Ok((found, qid))
    }

    fn get_attr(&mut self, node: &String, _file: Option<&String>, mask: u64) -> Result<Attr> {
        let size = self.files.get(node).ok_or(Errno::ENOENT)?.len() as u64;
        Ok(Attr { valid: mask, qid: Self::qid(node), size, ..Attr::default() })
    }

    fn open(&mut self, node: &String, _flags: u32) -> Result<(String, Qid)> {
        Ok((node.clone(), Self::qid(node)))
    }

    fn read(
        &mut self,
        file: &mut String,
        offset: u64,
        count: u32,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let data = self.files.get(file).ok_or(Errno::ENOENT)?;
        out.extend(data.iter().skip(offset as usize).take(count as usize));
        Ok(())
    }

    fn write(&mut self, file: &mut String, offset: u64, data: &[u8]) -> Result<u32> {
        let contents = self.files.get_mut(file).ok_or(Errno::ENOENT)?;
        contents.resize(contents.len().max(offset as usize + data.len()), 0);
        contents[offset as usize..offset as usize + data.len()].copy_from_slice(data);
        Ok(data.len() as u32)
    }

    fn read_dir(
        &mut self,
        file: &mut String,
        offset: u64,
        emit: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<()> {
        let inside = |path: &&String| {
            path.strip_prefix(file.as_str())
                .is_some_and(|rest| !rest.is_empty() && !rest[..rest.len() - 1].contains('/'))
        };
        for (index, path) in self.files.keys().filter(inside).enumerate().skip(offset as usize) {
            let name = path[file.len()..].trim_end_matches('/').as_bytes();
            if !emit(DirEntry { qid: Self::qid(path), offset: index as u64 + 1, kind: 0, name }) {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&mut self, _node: &String) -> Result<Vec<u8>> {
        Err(Errno::EINVAL)
    }

    fn stat_fs(&mut self, _node: &String) -> Result<StatFs> {
        Ok(StatFs { files: self.files.len() as u64, ..StatFs::default() })
    }

    fn create(
        &mut self,
        dir: &String,
        name: Name<'_>,
        _flags: u32,
        _mode: u32,
        _gid: u32,
    ) -> Result<(String, String, Qid)> {
        let path = std::format!("{dir}{}", String::from_utf8_lossy(name.bytes()));
        self.files.insert(path.clone(), Vec::new());
        Ok((path.clone(), path.clone(), Self::qid(&path)))
    }

    fn unlink(&mut self, dir: &String, name: Name<'_>, _flags: u32) -> Result<()> {
        let path = std::format!("{dir}{}", String::from_utf8_lossy(name.bytes()));
        self.files.remove(&path).map(|_| ()).ok_or(Errno::ENOENT)
    }

    fn get_xattr(&mut self, node: &String, name: &[u8]) -> Result<Vec<u8>> {
        self.xattrs.get(&(node.clone(), name.to_vec())).cloned().ok_or(Errno::ENODATA)
    }

    fn set_xattr(&mut self, node: &String, name: &[u8], value: &[u8], _flags: u32) -> Result<()> {
        self.xattrs.insert((node.clone(), name.to_vec()), value.to_vec());
        Ok(())
    }

    fn donate(&mut self, node: &String, _flags: u32) -> Result<(String, Qid)> {
        Ok((node.clone(), Self::qid(node)))
    }

    fn make(
        &mut self,
        dir: &String,
        name: Name<'_>,
        new: &NewFile,
        _target: &[u8],
    ) -> Result<Made<String, String>> {
        let path = std::format!("{dir}{}", String::from_utf8_lossy(name.bytes()));
        if self.files.contains_key(&path) {
            return Err(Errno::EEXIST);
        }
        self.files.insert(path.clone(), Vec::new());
        let attr = Attr { qid: Self::qid(&path), mode: new.mode, ..Attr::default() };
        Ok(Made { node: path.clone(), attr, descriptor: Some(path) })
    }
}

struct Connection {
    client: Client,
    fids: Fids,
    server: Server<Memory>,
    received: Received<String>,
}

impl Connection {
    fn new(plain: bool) -> Self {
        let mut connection = Self {
            client: Client::new(),
            fids: Fids::default(),
            server: Server::with_limit(Memory::new(), 8),
            received: Received::new(1),
        };
        let mut out = Vec::new();
        connection.client.begin(&mut out);
        if plain {
            out.clear();
            Request::Version { message_size: 5000, version: Text(VERSION_PLAIN) }
                .encode(NO_TAG, &mut out);
        }
        connection.exchange(&out).reply().unwrap();
        connection
    }

    fn exchange(&mut self, bytes: &[u8]) -> Answer {
        self.server.receive(bytes);
        while let Some(outgoing) = self.server.next_outgoing().unwrap() {
            if let Some(descriptor) = outgoing.descriptor {
                self.received.push(descriptor).unwrap();
            }
            self.client.receive(&outgoing.bytes);
        }
        self.client.next_answer().unwrap().unwrap()
    }

    fn ask(&mut self, request: &Request<'_>) -> Answer {
        let mut out = Vec::new();
        let tag = self.client.request(request, &mut out).unwrap();
        let answer = self.exchange(&out);
        assert_eq!(answer.tag, tag);
        answer
    }

    fn attach(&mut self) -> u32 {
        let fid = self.fids.take().unwrap();
        let attach =
            Request::Attach { fid, afid: NO_FID, user: Text(b""), name: Text(b""), uid: 0 };
        self.ask(&attach).reply().unwrap();
        fid
    }
}

#[test]
fn a_client_and_a_server() {
    let mut connection = Connection::new(false);
    assert!(connection.client.is_extended());
    let root = connection.attach();
    let names = List(vec![name(b"d"), name(b"e"), name(b"f"), name(b"g")]);
    let answer = connection.ask(&Request::WalkAttr { fid: root, new_fid: 10, names });
    let Ok(Reply::WalkAttr { number, steps }) = answer.reply() else { panic!("{answer:?}") };
    assert_eq!((number, steps.0.len(), steps.0[2].attr.size), (Errno::ENOTDIR.raw() as u32, 3, 8));
    connection.ask(&Request::Open { fid: 10, flags: 2 }).reply().unwrap();
    let answer = connection.ask(&Request::Read { fid: 10, offset: 3, count: 100 });
    assert_eq!(answer.reply(), Ok(Reply::Read { data: Data(b"tents") }));
    let write = Request::Write { fid: 10, offset: 8, data: Data(b"!") };
    assert_eq!(connection.ask(&write).reply(), Ok(Reply::Write { count: 1 }));
    let walk = Request::Walk { fid: 10, new_fid: 10, names: ShortList(Vec::new()) };
    assert_eq!(connection.ask(&walk).reply(), Err(Errno::EBADF));
    let walk = Request::Walk { fid: root, new_fid: 11, names: ShortList(vec![name(b"d")]) };
    connection.ask(&walk).reply().unwrap();
    assert_eq!(connection.ask(&walk).reply(), Err(Errno::EBADF));
    connection.ask(&Request::Donate { fid: 11, flags: 0 }).reply().unwrap();
    assert_eq!(connection.received.claim().as_deref(), Some("/d/"));
    connection.ask(&Request::Open { fid: 11, flags: 0 }).reply().unwrap();
    let answer = connection.ask(&Request::ReadDir { fid: 11, offset: 0, count: 1000 });
    let Ok(Reply::ReadDir { entries }) = answer.reply() else { panic!("{answer:?}") };
    let entries = dir_entries(entries.0).unwrap();
    assert_eq!(entries.iter().map(|entry| entry.name).collect::<Vec<_>>(), [b"e"]);
    assert_eq!(
        connection.ask(&Request::ReadDir { fid: 11, offset: 0, count: 5 }).reply(),
        Err(Errno::EINVAL)
    );
    let answer = connection.ask(&Request::ClunkMany { fids: List(vec![10, 5000, 11]) });
    assert_eq!(answer.reply(), Err(Errno::EBADF), "one of them is unknown");
    assert_eq!(connection.server.fid_count(), 1, "the others are gone");
    assert_eq!(connection.ask(&Request::Clunk { fid: 10 }).reply(), Err(Errno::EBADF));
    assert_eq!(connection.client.outstanding(), 0);
}

/// Walk, attributes and opening in one; listing with attributes; making with owner and descriptor.
#[test]
fn batches() {
    let mut connection = Connection::new(false);
    let root = connection.attach();
    let names = || List(vec![name(b"d"), name(b"e"), name(b"f")]);
    let open = Request::OpenAt { fid: root, new_fid: 10, names: names(), flags: 0 };
    let answer = connection.ask(&open);
    let Ok(Reply::OpenAt { number: 0, steps, donated: 1 }) = answer.reply() else {
        panic!("{answer:?}")
    };
    assert_eq!((steps.0.len(), steps.0[2].attr.size), (3, 8));
    assert_eq!(connection.received.claim().as_deref(), Some("/d/e/f"));
    let missing = List(vec![name(b"d"), name(b"none")]);
    let open = Request::OpenAt { fid: root, new_fid: 11, names: missing, flags: 0 };
    let answer = connection.ask(&open);
    let Ok(Reply::OpenAt { number, steps, donated: 0 }) = answer.reply() else {
        panic!("{answer:?}")
    };
    assert_eq!((number, steps.0.len()), (Errno::ENOENT.raw() as u32, 1));
    connection.ask(&Request::OpenDir { fid: 11, new_fid: 12 }).reply().unwrap();
    let answer = connection.ask(&Request::ReadDirAttr { fid: 12, offset: 0, count: 1000 });
    let Ok(Reply::ReadDirAttr { entries }) = answer.reply() else { panic!("{answer:?}") };
    let entries = dir_entries_attr(entries.0).unwrap();
    assert_eq!(entries.iter().map(|(entry, _)| entry.name).collect::<Vec<_>>(), [b"e"]);
    let small = Request::ReadDirAttr { fid: 12, offset: 0, count: 100 };
    assert_eq!(connection.ask(&small).reply(), Err(Errno::EINVAL));
    let make =
        Request::Make { dir: 11, new_fid: 13, name: name(b"new"), file: NEW, target: Text(b"") };
    let answer = connection.ask(&make);
    let Ok(Reply::Make { made, donated: 1 }) = answer.reply() else { panic!("{answer:?}") };
    assert_eq!(made.attr.mode, NEW.mode);
    assert_eq!(connection.received.claim().as_deref(), Some("/d/new"));
    assert_eq!(connection.ask(&make).reply(), Err(Errno::EBADF));
    let value = Data(b"v");
    let set = Request::XattrSet { fid: 13, name: Text(b"user.x"), value, flags: 0 };
    assert_eq!(connection.ask(&set).reply(), Ok(Reply::XattrSet {}));
    let get = Request::XattrGet { fid: 13, name: Text(b"user.x") };
    assert_eq!(connection.ask(&get).reply(), Ok(Reply::XattrGet { value }));
}

/// A client that sends much and takes nothing costs the server its own bytes and no more.
#[test]
fn requests_wait_for_their_turn() {
    let mut connection = Connection::new(false);
    let root = connection.attach();
    let mut out = Vec::new();
    for _ in 0..100 {
        connection.client.request(&Request::GetAttr { fid: root, mask: 0 }, &mut out).unwrap();
    }
    connection.server.receive(&out);
    let mut answers = 0;
    while connection.server.next_outgoing().unwrap().is_some() {
        answers += 1;
    }
    assert_eq!(answers, 100);
}

#[test]
fn extended_attributes_are_files() {
    let mut connection = Connection::new(false);
    let root = connection.attach();
    let create = Request::XattrCreate { fid: 5, name: Text(b"user.x"), size: 5, flags: 0 };
    assert_eq!(connection.ask(&create).reply(), Err(Errno::EBADF));
    connection
        .ask(&Request::Walk { fid: root, new_fid: 5, names: ShortList(Vec::new()) })
        .reply()
        .unwrap();
    connection.ask(&create).reply().unwrap();
    connection.ask(&Request::Write { fid: 5, offset: 0, data: Data(b"val") }).reply().unwrap();
    let beyond = Request::Write { fid: 5, offset: 3, data: Data(b"uexx") };
    assert_eq!(connection.ask(&beyond).reply(), Err(Errno::ENOSPC));
    connection.ask(&Request::Write { fid: 5, offset: 3, data: Data(b"ue") }).reply().unwrap();
    connection.ask(&Request::Clunk { fid: 5 }).reply().unwrap();
    let walk = Request::XattrWalk { fid: root, new_fid: 6, name: Text(b"user.x") };
    assert_eq!(connection.ask(&walk).reply(), Ok(Reply::XattrWalk { size: 5 }));
    let answer = connection.ask(&Request::Read { fid: 6, offset: 1, count: 100 });
    assert_eq!(answer.reply(), Ok(Reply::Read { data: Data(b"alue") }));
}

#[test]
fn plain_clients_get_plain_9p() {
    let mut connection = Connection::new(true);
    let root = connection.attach();
    assert_eq!(connection.client.io_size(), 5000 - 24);
    let mut out = Vec::new();
    let donate = Request::Donate { fid: root, flags: 0 };
    assert_eq!(connection.client.request(&donate, &mut out), Err(ClientError::Version));
    donate.encode(3, &mut out);
    connection.server.receive(&out);
    let outgoing = connection.server.next_outgoing().unwrap().unwrap();
    let error = Reply::Error { number: Errno::EOPNOTSUPP.raw() as u32 };
    assert_eq!(Reply::decode(&frame(&outgoing.bytes), false), Ok(error));
    let names = ShortList(vec![name(b"d"), name(b"none")]);
    let answer = connection.ask(&Request::Walk { fid: root, new_fid: 9, names });
    let Ok(Reply::Walk { qids }) = answer.reply() else { panic!("{answer:?}") };
    assert_eq!((qids.0.len(), connection.server.fid_count()), (1, 1));
}

#[test]
fn fids_are_bounded_and_sessions_begin_anew() {
    let mut connection = Connection::new(false);
    let root = connection.attach();
    for fid in 10..17 {
        connection
            .ask(&Request::Walk { fid: root, new_fid: fid, names: ShortList(Vec::new()) })
            .reply()
            .unwrap();
    }
    let one_more = Request::Walk { fid: root, new_fid: 30, names: ShortList(Vec::new()) };
    assert_eq!(connection.ask(&one_more).reply(), Err(Errno::ENFILE));
    let mut out = Vec::new();
    connection.client.begin(&mut out);
    connection.exchange(&out);
    assert_eq!(connection.server.fid_count(), 0);
}

#[test]
fn a_lying_server_is_found_out() {
    let lies: [&[u8]; 3] =
        [b"\x07\0\0\0\x79\x63\0", b"\x0b\0\0\0\x77\0\0\x01\0\0\0", b"\xff\xff\xff\xff\x79\0\0"];
    for lie in lies {
        let mut connection = Connection::new(false);
        let mut out = Vec::new();
        connection.client.request(&Request::Clunk { fid: 1 }, &mut out).unwrap();
        connection.client.receive(lie);
        assert!(connection.client.next_answer().is_err());
    }
    let mut client = Client::new();
    client.begin(&mut Vec::new());
    let mut out = Vec::new();
    Reply::Version { message_size: 8192, version: Text(b"9P2000.u") }.encode(NO_TAG, &mut out);
    client.receive(&out);
    assert_eq!(client.next_answer().err(), Some(ClientError::Version));
    assert_eq!(client.request(&Request::Clunk { fid: 1 }, &mut out), Err(ClientError::Version));
}

/// The fuzz target on valid messages, on messages with random bytes changed, and on noise.
#[test]
fn noise() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut all = Vec::new();
    requests().iter().for_each(|request| request.encode(1, &mut all));
    replies().iter().for_each(|reply| reply.encode(1, &mut all));
    crate::fuzz::run(&all);
    for _ in 0..2000 {
        let mut bytes = all.clone();
        for _ in 0..next() % 8 {
            let index = next() as usize % bytes.len();
            bytes[index] = next() as u8;
        }
        crate::fuzz::run(&bytes[next() as usize % bytes.len()..]);
    }
}
