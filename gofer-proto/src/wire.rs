//! The bytes of the protocol: little-endian integers, counted strings, and frames.
//!
//! A frame is `size[4] type[1] tag[2] body`, where `size` counts all of it. Decoding borrows from the frame; nothing
//! is allocated by a length that has not been checked against the bytes that are there.
//!
//! References: the 9P2000.L notes of diod, the kernel's `include/net/9p/9p.h`.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

/// Bytes of a frame before its body.
pub const HEADER: usize = 7;
/// Bytes of a read reply or write request around the data, rounded up as other implementations do (`P9_IOHDRSZ`).
pub const IO_HEADER: u32 = 24;
/// Smallest message size that a peer may ask for.
pub const MIN_MESSAGE: u32 = 4096;
/// Largest message size that is agreed to.
pub const MAX_MESSAGE: u32 = 1 << 20;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The body ends within a field.
    Truncated,
    /// Bytes are left behind the last field.
    TrailingBytes,
    /// The size of a frame is smaller than its header or larger than agreed.
    BadSize(u32),
    /// No message has this type, or not in the negotiated version.
    UnknownType(u8),
    /// A count is above its limit.
    TooMany,
    /// A name is not a single path component.
    BadName,
    /// A field has a value that it cannot have.
    BadValue,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the message is truncated"),
            Self::TrailingBytes => f.write_str("bytes are left behind the message"),
            Self::BadSize(size) => write!(f, "a frame cannot have {size} bytes"),
            Self::UnknownType(kind) => write!(f, "message type {kind} is not known"),
            Self::TooMany => f.write_str("a count is above its limit"),
            Self::BadName => f.write_str("a name is not a single path component"),
            Self::BadValue => f.write_str("a field has an impossible value"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Reads fields from a body.
pub struct Decoder<'a> {
    rest: &'a [u8],
}

macro_rules! integers {
    ($($get:ident $put:ident $type:ty;)*) => {
        impl<'a> Decoder<'a> {
            $(
                /// Reads an integer.
                ///
                /// # Errors
                /// [`DecodeError::Truncated`].
                pub fn $get(&mut self) -> Result<$type, DecodeError> {
                    let (bytes, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
                    self.rest = rest;
                    Ok(<$type>::from_le_bytes(*bytes))
                }
            )*
        }

        impl Encoder<'_> {
            $(
                /// Writes an integer.
                pub fn $put(&mut self, value: $type) {
                    self.out.extend_from_slice(&value.to_le_bytes());
                }
            )*
        }
    };
}

integers! {
    u8 put_u8 u8;
    u16 put_u16 u16;
    u32 put_u32 u32;
    u64 put_u64 u64;
}

impl<'a> Decoder<'a> {
    /// A decoder of a body.
    pub const fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// Reads this many bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Reads a string: a 16-bit length and its bytes, which need not be UTF-8.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn string(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.u16()?;
        self.bytes(usize::from(length))
    }

    /// Reads data: a 32-bit length and its bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn data(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.u32()?;
        self.bytes(usize::try_from(length).map_err(|_| DecodeError::Truncated)?)
    }

    /// Bytes not read yet.
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Makes sure that everything has been read.
    ///
    /// # Errors
    /// [`DecodeError::TrailingBytes`].
    pub const fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }
}

/// Writes fields behind what is in a buffer already.
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Encoder<'a> {
    /// An encoder that appends to `out`.
    pub const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Writes bytes without a length.
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Writes a string; what does not fit a 16-bit length is cut off.
    pub fn put_string(&mut self, bytes: &[u8]) {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.put_u16(length);
        self.put_bytes(bytes.get(..usize::from(length)).unwrap_or(bytes));
    }

    /// Writes data; what does not fit a 32-bit length is cut off.
    pub fn put_data(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.put_u32(length);
        self.put_bytes(bytes.get(..length as usize).unwrap_or(bytes));
    }
}

/// Appends a frame whose body `body` writes.
pub fn put_frame(out: &mut Vec<u8>, kind: u8, tag: u16, body: impl FnOnce(&mut Encoder<'_>)) {
    let start = out.len();
    let mut encoder = Encoder::new(out);
    encoder.put_u32(0);
    encoder.put_u8(kind);
    encoder.put_u16(tag);
    body(&mut encoder);
    let size = u32::try_from(out.len().saturating_sub(start)).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(start..start.saturating_add(4)) {
        field.copy_from_slice(&size.to_le_bytes());
    }
}

/// A frame without its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The message's type.
    pub kind: u8,
    /// What ties a reply to its request.
    pub tag: u16,
    /// The fields.
    pub body: Vec<u8>,
}

/// Cuts a stream of bytes into frames.
#[derive(Debug)]
pub struct Inbox {
    bytes: VecDeque<u8>,
    limit: u32,
}

impl Inbox {
    /// An inbox for frames of at most `limit` bytes.
    pub const fn new(limit: u32) -> Self {
        Self { bytes: VecDeque::new(), limit }
    }

    /// Changes the limit, once the peers have agreed on one.
    pub const fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// Takes bytes from the peer.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// Bytes that wait for the rest of their frame.
    pub fn waiting(&self) -> usize {
        self.bytes.len()
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// [`DecodeError::BadSize`], after which the stream makes no sense any more.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, DecodeError> {
        let mut size = [0; 4];
        for (index, byte) in size.iter_mut().enumerate() {
            match self.bytes.get(index) {
                Some(value) => *byte = *value,
                None => return Ok(None),
            }
        }
        let size = u32::from_le_bytes(size);
        let length = usize::try_from(size).map_err(|_| DecodeError::BadSize(size))?;
        if length < HEADER || size > self.limit {
            return Err(DecodeError::BadSize(size));
        }
        if self.bytes.len() < length {
            return Ok(None);
        }
        let mut header = [0; HEADER];
        for (to, byte) in header.iter_mut().zip(self.bytes.drain(..HEADER)) {
            *to = byte;
        }
        let body = self.bytes.drain(..length.saturating_sub(HEADER)).collect();
        let [.., kind, low, high] = header;
        Ok(Some(Frame { kind, tag: u16::from_le_bytes([low, high]), body }))
    }
}
