//! Messages from the client, and where one ends and the next begins.
//!
//! [`Input`] gathers bytes until a whole message is there and hands out its body as [`Bytes`], shared with the read buffer and not copied.
//! A body is decoded by [`Cursor`], which refuses to read past its end: a truncated or overlong message is a [`Malformed`] error
//! with Postgres's words and never a panic, and never eats bytes of the message behind it. (`pgwire`'s own decoders assume well-formed
//! bodies, which is why they are not used in this direction.)
//!
//! Invariant: a length field alone never makes memory be set aside; the buffer grows as bytes arrive.

use std::io::{self, Read};

use bytes::{Buf, Bytes, BytesMut};

/// The longest message a logged-in client may send, as in Postgres.
const MESSAGE_LENGTH_MAX: usize = 0x3fff_ffff;

/// Buffers larger than this are given back once they are empty.
const BUFFER_KEEP_BYTES: usize = 1 << 20;

/// How much is read from the socket at a time.
const READ_BYTES: usize = 32 << 10;

/// A message that breaks the protocol (08P01), in Postgres's words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub String);

fn malformed<T>(message: &str) -> Result<T, Malformed> {
    Err(Malformed(message.to_string()))
}

/// Why no message could be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The connection is gone or broke.
    Io(io::Error),
    /// The bytes make no sense, and where the next message begins is unknown: the connection ends.
    Malformed(Malformed),
}

impl From<io::Error> for ReadError {
    fn from(e: io::Error) -> ReadError {
        ReadError::Io(e)
    }
}

/// One message, body undecoded.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// Its type byte.
    pub tag: u8,
    /// What follows the length.
    pub body: Bytes,
}

/// Bytes read and not yet asked for.
#[derive(Default)]
pub(crate) struct Input {
    buffer: BytesMut,
}

impl Input {
    /// The next message. Blocks; an end of stream is `UnexpectedEof`.
    pub(crate) fn read_frame(&mut self, stream: &mut impl Read) -> Result<Frame, ReadError> {
        self.fill(stream, 5)?;
        let tag = self.buffer[0];
        let length = self.length_at(1)?;
        if !(4..=MESSAGE_LENGTH_MAX).contains(&length) {
            return Err(ReadError::Malformed(Malformed("invalid message length".into())));
        }
        self.fill(stream, 1 + length)?;
        self.buffer.advance(5);
        Ok(Frame { tag, body: self.take(length - 4) })
    }

    /// A start-up packet: its code, then its body. At most 10,000 bytes, as in Postgres.
    pub(crate) fn read_startup(&mut self, stream: &mut impl Read) -> Result<(u32, Bytes), ReadError> {
        self.fill(stream, 8)?;
        let length = self.length_at(0)?;
        if !(8..=10_000).contains(&length) {
            return Err(ReadError::Malformed(Malformed("invalid length of startup packet".into())));
        }
        self.fill(stream, length)?;
        self.buffer.advance(4);
        let code = self.buffer.get_u32();
        Ok((code, self.take(length - 8)))
    }

    /// The type of the next message, if that message is here in full already.
    pub(crate) fn peek_tag(&self) -> Option<u8> {
        let (&tag, rest) = self.buffer.split_first()?;
        let length = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        (rest.len() >= length).then_some(tag)
    }

    /// Whether bytes wait that nobody asked for: more than an encrypted connection may have before its handshake.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    fn length_at(&self, at: usize) -> Result<usize, ReadError> {
        let bytes = self.buffer.get(at..at + 4).and_then(|b| b.try_into().ok());
        match bytes.map(i32::from_be_bytes) {
            Some(length) if length >= 0 => Ok(length as usize),
            _ => Err(ReadError::Malformed(Malformed("invalid message length".into()))),
        }
    }

    fn fill(&mut self, stream: &mut impl Read, wanted: usize) -> io::Result<()> {
        while self.buffer.len() < wanted {
            let have = self.buffer.len();
            self.buffer.resize(have + READ_BYTES.max((wanted - have).min(BUFFER_KEEP_BYTES)), 0);
            let read = loop {
                match stream.read(&mut self.buffer[have..]) {
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    other => break other,
                }
            };
            self.buffer.truncate(have + *read.as_ref().unwrap_or(&0));
            if read? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    fn take(&mut self, length: usize) -> Bytes {
        let body = self.buffer.split_to(length).freeze();
        if self.buffer.is_empty() && self.buffer.capacity() > BUFFER_KEEP_BYTES {
            self.buffer = BytesMut::new();
        }
        body
    }
}

/// Whether a statement or a portal is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A prepared statement.
    Statement,
    /// A portal.
    Portal,
}

/// A decoded message of a logged-in client.
#[derive(Debug)]
pub(crate) enum Message {
    /// A query text of the simple protocol.
    Query(String),
    /// A statement to prepare.
    Parse {
        /// Its name; empty is the unnamed one.
        name: String,
        /// Its text.
        query: String,
        /// Types of its parameters; 0 and those left off are the server's to infer.
        types: Vec<u32>,
    },
    /// Parameters for a prepared statement.
    Bind(Bind),
    /// What a statement takes and gives.
    Describe(Target, String),
    /// Run a portal, or run it on.
    Execute {
        /// The portal.
        portal: String,
        /// At most this many rows; 0 is all.
        rows_max: usize,
    },
    /// Forget a statement or a portal.
    Close(Target, String),
    /// Send what has been held back.
    Flush,
    /// End of an extended query.
    Sync,
    /// Bytes for COPY FROM STDIN.
    CopyData(Bytes),
    /// Their end.
    CopyDone,
    /// The client gave up, with its reason.
    CopyFail(String),
    /// An answer to an authentication request.
    Password(Bytes),
    /// The fast-path function call, which Weir does not do.
    FunctionCall,
    /// Goodbye.
    Terminate,
}

/// The body of a Bind message.
#[derive(Debug)]
pub(crate) struct Bind {
    /// The portal to make.
    pub portal: String,
    /// From this statement.
    pub statement: String,
    /// None, one for all, or one for each.
    pub parameter_formats: Vec<i16>,
    /// Values, `None` is NULL.
    pub parameters: Vec<Option<Bytes>>,
    /// None, one for all, or one for each.
    pub result_formats: Vec<i16>,
}

impl Message {
    /// Decodes a frame. `Err(None)` is a message type that does not exist.
    pub(crate) fn decode(frame: Frame) -> Result<Message, Malformed> {
        let tag = frame.tag;
        let mut body = Cursor(frame.body);
        let message = match tag {
            b'Q' => Message::Query(body.string()?),
            b'P' => {
                let (name, query) = (body.string()?, body.string()?);
                let count = body.u16()?;
                let types = (0..count).map(|_| body.u32()).collect::<Result<_, _>>()?;
                Message::Parse { name, query, types }
            }
            b'B' => Message::Bind(Bind {
                portal: body.string()?,
                statement: body.string()?,
                parameter_formats: body.formats()?,
                parameters: body.values()?,
                result_formats: body.formats()?,
            }),
            b'D' => Message::Describe(body.target("DESCRIBE")?, body.string()?),
            b'C' => Message::Close(body.target("CLOSE")?, body.string()?),
            b'E' => {
                let portal = body.string()?;
                Message::Execute { portal, rows_max: usize::try_from(body.u32()? as i32).unwrap_or(0) }
            }
            b'H' => Message::Flush,
            b'S' => Message::Sync,
            b'd' => return Ok(Message::CopyData(body.0)),
            b'c' => Message::CopyDone,
            b'f' => Message::CopyFail(body.string()?),
            b'p' => return Ok(Message::Password(body.0)),
            b'F' => return Ok(Message::FunctionCall),
            b'X' => return Ok(Message::Terminate),
            other => return Err(Malformed(format!("invalid frontend message type {other}"))),
        };
        match body.0.is_empty() {
            true => Ok(message),
            false => malformed("invalid message format"),
        }
    }
}

/// Name and value pairs of a start-up packet.
pub(crate) fn startup_parameters(body: Bytes) -> Result<Vec<(String, String)>, Malformed> {
    let mut body = Cursor(body);
    let mut parameters = Vec::new();
    while body.0.first().is_some_and(|&first| first != 0) {
        parameters.push((body.string()?, body.string()?));
    }
    match body.0.as_ref() {
        [0] => Ok(parameters),
        _ => malformed("invalid startup packet layout: expected terminator as last byte"),
    }
}

/// Reads a body from the front.
pub(crate) struct Cursor(pub Bytes);

impl Cursor {
    fn need(&self, bytes: usize) -> Result<(), Malformed> {
        match self.0.len() >= bytes {
            true => Ok(()),
            false => malformed("insufficient data left in message"),
        }
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.need(2)?;
        Ok(self.0.get_u16())
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.need(4)?;
        Ok(self.0.get_u32())
    }

    /// A zero-terminated string, which must be UTF-8.
    pub(crate) fn string(&mut self) -> Result<String, Malformed> {
        let Some(end) = self.0.iter().position(|&b| b == 0) else {
            return malformed("invalid string in message");
        };
        let bytes = self.0.split_to(end);
        self.0.advance(1);
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.to_string()),
            Err(e) => {
                let at = e.valid_up_to();
                Err(Malformed(format!("invalid byte sequence for encoding \"UTF8\": 0x{:02x}", bytes[at])))
            }
        }
    }

    fn formats(&mut self) -> Result<Vec<i16>, Malformed> {
        let count = self.u16()?;
        (0..count).map(|_| self.u16().map(|code| code as i16)).collect()
    }

    fn values(&mut self) -> Result<Vec<Option<Bytes>>, Malformed> {
        let count = self.u16()?;
        (0..count).map(|_| self.value()).collect()
    }

    fn value(&mut self) -> Result<Option<Bytes>, Malformed> {
        match self.u32()? as i32 {
            -1 => Ok(None),
            length => {
                let Ok(length) = usize::try_from(length) else {
                    return malformed("insufficient data left in message");
                };
                self.need(length)?;
                Ok(Some(self.0.split_to(length)))
            }
        }
    }

    fn target(&mut self, message: &str) -> Result<Target, Malformed> {
        self.need(1)?;
        match self.0.get_u8() {
            b'S' => Ok(Target::Statement),
            b'P' => Ok(Target::Portal),
            other => Err(Malformed(format!("invalid {message} message subtype {other}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(tag: u8, body: &[u8]) -> Frame {
        Frame { tag, body: Bytes::copy_from_slice(body) }
    }

    #[test]
    fn frames_are_cut_where_their_length_says_however_they_arrive() {
        struct OneByte<'a>(&'a [u8]);
        impl Read for OneByte<'_> {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                let Some((&first, rest)) = self.0.split_first() else { return Ok(0) };
                buf[0] = first;
                self.0 = rest;
                Ok(1)
            }
        }
        let bytes = b"Q\0\0\0\x0dselect 1\0S\0\0\0\x04X\0\0\0\x04";
        let mut stream = OneByte(bytes);
        let mut input = Input::default();
        let query = input.read_frame(&mut stream).unwrap();
        assert!(matches!(Message::decode(query), Ok(Message::Query(q)) if q == "select 1"));
        assert_eq!(input.peek_tag(), None);
        assert_eq!(input.read_frame(&mut stream).unwrap().tag, b'S');
        assert_eq!(input.read_frame(&mut stream).unwrap().tag, b'X');
        assert!(matches!(input.read_frame(&mut stream), Err(ReadError::Io(_))));
    }

    #[test]
    fn a_whole_message_behind_the_current_one_is_seen() {
        let mut input = Input::default();
        input.read_frame(&mut &b"H\0\0\0\x04S\0\0\0\x04"[..]).unwrap();
        assert_eq!(input.peek_tag(), Some(b'S'));
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        for bytes in [&b"Q\0\0\0\x03"[..], b"Q\xff\xff\xff\xff", b"Q\x7f\xff\xff\xff"] {
            let read = Input::default().read_frame(&mut &bytes[..]);
            assert!(matches!(read, Err(ReadError::Malformed(_))), "{bytes:?}");
        }
    }

    #[test]
    fn every_truncation_of_a_bind_is_an_error_and_not_a_panic() {
        let body = b"portal\0stmt\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\x01\0\x01";
        let Ok(Message::Bind(bind)) = Message::decode(frame(b'B', body)) else { panic!("is a Bind") };
        assert_eq!((bind.portal.as_str(), bind.statement.as_str()), ("portal", "stmt"));
        assert_eq!(bind.parameters, [Some(Bytes::from_static(b"ab")), None]);
        assert_eq!((bind.parameter_formats, bind.result_formats), (vec![1], vec![1]));
        for end in 0..body.len() {
            assert!(Message::decode(frame(b'B', &body[..end])).is_err(), "cut at {end}");
        }
        let longer = [&body[..], b"!"].concat();
        assert!(Message::decode(frame(b'B', &longer)).is_err());
    }

    #[test]
    fn text_that_is_not_utf8_is_refused() {
        let error = Message::decode(frame(b'Q', b"select '\xff'\0")).unwrap_err();
        assert_eq!(error.0, "invalid byte sequence for encoding \"UTF8\": 0xff");
    }

    #[test]
    fn startup_parameters_need_their_terminator() {
        let ok = startup_parameters(Bytes::from_static(b"user\0me\0database\0\0\0")).unwrap();
        assert_eq!(ok, [("user".into(), "me".into()), ("database".into(), String::new())]);
        assert!(startup_parameters(Bytes::from_static(b"user\0me\0")).is_err());
    }
}
