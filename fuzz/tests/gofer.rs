//! The file protocol, both directions.

use chitin_fuzz::fuzz;
use chitin_gofer_proto::client::Client;
use chitin_gofer_proto::message::{NO_FID, Reply, Request, Text};
use chitin_gofer_proto::name::Name;

fn requests() -> Vec<u8> {
    let mut bytes = Vec::new();
    let name = Name::new(b"name").expect("a name");
    let requests = [
        Request::Attach { fid: 1, afid: NO_FID, user: Text(b"u"), name: Text(b"n"), uid: 0 },
        Request::GetAttr { fid: 1, mask: 2 },
        Request::Open { fid: 1, flags: 2 },
        Request::Read { fid: 1, offset: 2, count: 30 },
        Request::ReadDir { fid: 1, offset: 0, count: 300 },
        Request::XattrCreate { fid: 1, name: Text(b"user.x"), size: 3, flags: 0 },
        Request::MakeDir { dir: 1, name, mode: 2, gid: 3 },
        Request::Donate { fid: 1, flags: 2 },
        Request::Flush { old_tag: 9 },
        Request::Clunk { fid: 1 },
    ];
    for (tag, request) in requests.iter().enumerate() {
        request.encode(tag as u16, &mut bytes);
    }
    bytes
}

fn replies() -> Vec<u8> {
    let mut bytes = Vec::new();
    let replies = [
        Reply::Error { number: 2 },
        Reply::ReadLink { target: Text(b"x") },
        Reply::Write { count: 4 },
        Reply::Clunk {},
    ];
    for (tag, reply) in replies.iter().enumerate() {
        reply.encode(tag as u16, &mut bytes);
    }
    bytes
}

#[test]
fn gofer_messages() {
    let mut hello = Vec::new();
    Client::new().begin(&mut hello);
    fuzz(&[requests(), replies(), hello], chitin_gofer_proto::fuzz::run);
}
