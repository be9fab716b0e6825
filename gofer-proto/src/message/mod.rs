//! Requests and replies.
//!
//! Every message is a variant of [`Request`] or [`Reply`] with its fields in the order of the wire; names and data
//! borrow from the frame. Messages from 200 on are the extension: they are only valid after both peers have
//! agreed on [`VERSION_EXTENDED`].

mod types;

use crate::name::Name;
use crate::wire::{DecodeError, Decoder, Encoder, Frame, put_frame};

pub use types::{
    Attr, Data, DirEntry, Field, GETATTR_ALL, GETATTR_BASIC, List, MAX_LIST, MAX_WALK, NewFile,
    QID_DIR, QID_FILE, QID_LINK, Qid, SetAttr, SetAttrMask, ShortList, StatFs, Text, Time, Walked,
    dir_entries, dir_entries_attr,
};

/// Plain 9P2000.L.
pub const VERSION_PLAIN: &[u8] = b"9P2000.L";
/// 9P2000.L with the messages from 200 on.
pub const VERSION_EXTENDED: &[u8] = b"9P2000.L.chitin";
/// What a server answers that speaks neither.
pub const VERSION_UNKNOWN: &[u8] = b"unknown";
/// The tag of `Tversion`.
pub const NO_TAG: u16 = u16::MAX;
/// No fid (`afid` of an attach without authentication).
pub const NO_FID: u32 = u32::MAX;
/// The type of `Rlerror`.
pub const ERROR_TYPE: u8 = 7;
/// The first type of the extension.
const FIRST_EXTENDED: u8 = 200;

macro_rules! messages {
    ($(#[$doc:meta])* $enum:ident {
        $($(#[$variant_doc:meta])* $kind:literal $variant:ident { $($field:ident: $type:ty,)* })*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the fields are those of the protocol")]
        pub enum $enum<'a> {
            $($(#[$variant_doc])* $variant { $($field: $type,)* },)*
        }

        impl<'a> $enum<'a> {
            /// The type byte.
            pub const fn kind(&self) -> u8 {
                match self {
                    $(Self::$variant { .. } => $kind,)*
                }
            }

            fn put_body(&self, to: &mut Encoder<'_>) {
                match self {
                    $(Self::$variant { $($field,)* } => {
                        let _ = &to;
                        $($field.put(to);)*
                    })*
                }
            }

            fn get_body(kind: u8, from: &mut Decoder<'a>) -> Result<Self, DecodeError> {
                match kind {
                    $($kind => Ok(Self::$variant { $($field: Field::get(from)?,)* }),)*
                    other => Err(DecodeError::UnknownType(other)),
                }
            }

            /// Appends the message as a frame.
            pub fn encode(&self, tag: u16, out: &mut alloc::vec::Vec<u8>) {
                put_frame(out, self.kind(), tag, |to| self.put_body(to));
            }

            /// Reads the message of a frame; those of the extension only if `extended`.
            ///
            /// # Errors
            /// What is wrong with the frame.
            pub fn decode(frame: &'a Frame, extended: bool) -> Result<Self, DecodeError> {
                if frame.kind >= FIRST_EXTENDED && !extended {
                    return Err(DecodeError::UnknownType(frame.kind));
                }
                let mut decoder = Decoder::new(&frame.body);
                let message = Self::get_body(frame.kind, &mut decoder)?;
                decoder.finish()?;
                Ok(message)
            }
        }
    };
}

messages! {
    /// What a client asks.
    Request {
        /// Numbers of the file system.
        8 StatFs { fid: u32, }
        /// Opens a fid by Linux open flags.
        12 Open { fid: u32, flags: u32, }
        /// Makes and opens a regular file; the directory's fid becomes the file's.
        14 Create { fid: u32, name: Name<'a>, flags: u32, mode: u32, gid: u32, }
        /// Makes a symbolic link.
        16 Symlink { dir: u32, name: Name<'a>, target: Text<'a>, gid: u32, }
        /// Makes a special file.
        18 MakeNode { dir: u32, name: Name<'a>, mode: u32, major: u32, minor: u32, gid: u32, }
        /// Renames what a fid names (older form).
        20 Rename { fid: u32, dir: u32, name: Name<'a>, }
        /// The text of a symbolic link.
        22 ReadLink { fid: u32, }
        /// Attributes.
        24 GetAttr { fid: u32, mask: u64, }
        /// Changes attributes.
        26 SetAttr { fid: u32, change: SetAttr, }
        /// Begins to read an extended attribute, or the list of them by an empty name.
        30 XattrWalk { fid: u32, new_fid: u32, name: Text<'a>, }
        /// Begins to write an extended attribute; the clunk finishes it.
        32 XattrCreate { fid: u32, name: Text<'a>, size: u64, flags: u32, }
        /// Directory entries from an offset.
        40 ReadDir { fid: u32, offset: u64, count: u32, }
        /// Brings data to the storage.
        50 Sync { fid: u32, data_only: u32, }
        /// Takes or drops a record lock.
        52 Lock { fid: u32, kind: u8, flags: u32, start: u64, length: u64, process: u32, client: Text<'a>, }
        /// Asks for a record lock.
        54 GetLock { fid: u32, kind: u8, start: u64, length: u64, process: u32, client: Text<'a>, }
        /// Makes a hard link.
        70 Link { dir: u32, fid: u32, name: Name<'a>, }
        /// Makes a directory.
        72 MakeDir { dir: u32, name: Name<'a>, mode: u32, gid: u32, }
        /// Renames an entry.
        74 RenameAt { old_dir: u32, old_name: Name<'a>, new_dir: u32, new_name: Name<'a>, }
        /// Removes an entry; `AT_REMOVEDIR` for a directory.
        76 UnlinkAt { dir: u32, name: Name<'a>, flags: u32, }
        /// Agrees on version and message size; drops all fids.
        100 Version { message_size: u32, version: Text<'a>, }
        /// Begins authentication, which nobody here wants.
        102 Auth { afid: u32, user: Text<'a>, name: Text<'a>, uid: u32, }
        /// A fid for the root of a tree.
        104 Attach { fid: u32, afid: u32, user: Text<'a>, name: Text<'a>, uid: u32, }
        /// The client no longer waits for the request of this tag.
        108 Flush { old_tag: u16, }
        /// A new fid by walking from an old one.
        110 Walk { fid: u32, new_fid: u32, names: ShortList<Name<'a>>, }
        /// Reads.
        116 Read { fid: u32, offset: u64, count: u32, }
        /// Writes.
        118 Write { fid: u32, offset: u64, data: Data<'a>, }
        /// Forgets a fid.
        120 Clunk { fid: u32, }
        /// Removes what a fid names, and forgets it.
        122 Remove { fid: u32, }
        /// Walks as far as it goes; every step's attributes come back. `new_fid` is the last step reached.
        200 WalkAttr { fid: u32, new_fid: u32, names: List<Name<'a>>, }
        /// Opens a file and donates the descriptor instead of keeping it.
        202 Donate { fid: u32, flags: u32, }
        /// Forgets many fids.
        204 ClunkMany { fids: List<u32>, }
        /// `fallocate(2)`.
        206 Allocate { fid: u32, mode: u32, offset: u64, length: u64, }
        /// Renames an entry with `RENAME_…` flags.
        208 RenameFlags { old_dir: u32, old_name: Name<'a>, new_dir: u32, new_name: Name<'a>, flags: u32, }
        /// Removes an extended attribute.
        210 XattrRemove { fid: u32, name: Text<'a>, }
        /// Directory entries with their attributes, from an offset.
        212 ReadDirAttr { fid: u32, offset: u64, count: u32, }
        /// Walks as [`Request::WalkAttr`] does and donates a descriptor of the end, opened by Linux flags.
        214 OpenAt { fid: u32, new_fid: u32, names: List<Name<'a>>, flags: u32, }
        /// Opens a directory by a fid of its own.
        216 OpenDir { fid: u32, new_fid: u32, }
        /// Makes an entry of whatever type (by `mode`) with its owner, and a fid for it. `target` is a link's text.
        218 Make { dir: u32, new_fid: u32, name: Name<'a>, file: NewFile, target: Text<'a>, }
        /// Makes a regular file without a name, and a fid for it.
        220 MakeUnnamed { dir: u32, new_fid: u32, file: NewFile, }
        /// The value of an extended attribute.
        222 XattrGet { fid: u32, name: Text<'a>, }
        /// The names of the extended attributes.
        224 XattrList { fid: u32, }
        /// Sets an extended attribute.
        226 XattrSet { fid: u32, name: Text<'a>, value: Data<'a>, flags: u32, }
    }
}

messages! {
    /// What a server answers.
    Reply {
        /// It failed with this Linux error number.
        7 Error { number: u32, }
        /// See [`Request::StatFs`].
        9 StatFs { stats: StatFs, }
        /// See [`Request::Open`].
        13 Open { qid: Qid, io_unit: u32, }
        /// See [`Request::Create`].
        15 Create { qid: Qid, io_unit: u32, }
        /// See [`Request::Symlink`].
        17 Symlink { qid: Qid, }
        /// See [`Request::MakeNode`].
        19 MakeNode { qid: Qid, }
        /// See [`Request::Rename`].
        21 Rename {}
        /// See [`Request::ReadLink`].
        23 ReadLink { target: Text<'a>, }
        /// See [`Request::GetAttr`].
        25 GetAttr { attr: Attr, }
        /// See [`Request::SetAttr`].
        27 SetAttr {}
        /// See [`Request::XattrWalk`].
        31 XattrWalk { size: u64, }
        /// See [`Request::XattrCreate`].
        33 XattrCreate {}
        /// See [`Request::ReadDir`] and [`dir_entries`].
        41 ReadDir { entries: Data<'a>, }
        /// See [`Request::Sync`].
        51 Sync {}
        /// See [`Request::Lock`].
        53 Lock { status: u8, }
        /// See [`Request::GetLock`].
        55 GetLock { kind: u8, start: u64, length: u64, process: u32, client: Text<'a>, }
        /// See [`Request::Link`].
        71 Link {}
        /// See [`Request::MakeDir`].
        73 MakeDir { qid: Qid, }
        /// See [`Request::RenameAt`].
        75 RenameAt {}
        /// See [`Request::UnlinkAt`].
        77 UnlinkAt {}
        /// See [`Request::Version`].
        101 Version { message_size: u32, version: Text<'a>, }
        /// See [`Request::Auth`].
        103 Auth { qid: Qid, }
        /// See [`Request::Attach`].
        105 Attach { qid: Qid, }
        /// See [`Request::Flush`].
        109 Flush {}
        /// See [`Request::Walk`]: shorter than the names where a later one is missing; no fid is made then.
        111 Walk { qids: ShortList<Qid>, }
        /// See [`Request::Read`].
        117 Read { data: Data<'a>, }
        /// See [`Request::Write`].
        119 Write { count: u32, }
        /// See [`Request::Clunk`].
        121 Clunk {}
        /// See [`Request::Remove`].
        123 Remove {}
        /// See [`Request::WalkAttr`]: `number` is the error that ended the walk, 0 for none. Fewer steps than names
        /// without an error: the reply was full, the walk is to be continued from `new_fid`.
        201 WalkAttr { number: u32, steps: List<Walked>, }
        /// See [`Request::Donate`]: one descriptor comes with it.
        203 Donate { qid: Qid, }
        /// See [`Request::ClunkMany`].
        205 ClunkMany {}
        /// See [`Request::Allocate`].
        207 Allocate {}
        /// See [`Request::RenameFlags`].
        209 RenameFlags {}
        /// See [`Request::XattrRemove`].
        211 XattrRemove {}
        /// See [`Request::ReadDirAttr`] and [`dir_entries_attr`].
        213 ReadDirAttr { entries: Data<'a>, }
        /// See [`Request::OpenAt`]: as [`Reply::WalkAttr`]; one descriptor comes with it if `donated` is 1. `number`
        /// is also the error of the opening.
        215 OpenAt { number: u32, steps: List<Walked>, donated: u8, }
        /// See [`Request::OpenDir`].
        217 OpenDir { qid: Qid, }
        /// See [`Request::Make`]: a regular file's descriptor for reading and writing comes with it if `donated` is 1.
        219 Make { made: Walked, donated: u8, }
        /// See [`Request::MakeUnnamed`].
        221 MakeUnnamed { made: Walked, donated: u8, }
        /// See [`Request::XattrGet`].
        223 XattrGet { value: Data<'a>, }
        /// See [`Request::XattrList`]: each with a NUL behind it.
        225 XattrList { names: Data<'a>, }
        /// See [`Request::XattrSet`].
        227 XattrSet {}
    }
}

impl Request<'_> {
    /// The type of the reply if it succeeds.
    pub const fn reply_kind(&self) -> u8 {
        self.kind() + 1
    }
}
