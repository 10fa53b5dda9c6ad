//! Messages to the client, gathered until there is reason to send them.
//!
//! [`Output`] holds at most a few tens of kilobytes: rows go to the socket as soon as [`SEND_BYTES`] have gathered, and the write
//! blocks while the client does not read. That is all the back-pressure there is: nothing is queued anywhere else, so a slow reader
//! holds one batch and this buffer, and slows its own query only.

use std::io::{self, Write};

use bytes::{BufMut, BytesMut};
use pgwire::messages::Message;

/// How much gathers before it is sent.
pub(crate) const SEND_BYTES: usize = 64 << 10;

/// Bytes not yet sent.
#[derive(Default)]
pub(crate) struct Output {
    buffer: BytesMut,
}

impl Output {
    /// Adds a message.
    pub(crate) fn push(&mut self, message: &impl Message) {
        let start = self.buffer.len();
        if let Err(error) = message.encode(&mut self.buffer) {
            // Only a message beyond the protocol's own length limits comes here; half of one would garble all that follow.
            self.buffer.truncate(start);
            tracing::error!(%error, "a message to a client could not be encoded");
        }
    }

    /// Adds a message whose body `write` appends; its length is filled in afterwards.
    pub(crate) fn push_with(&mut self, tag: u8, write: impl FnOnce(&mut BytesMut)) {
        self.buffer.put_u8(tag);
        let start = self.buffer.len();
        self.buffer.put_u32(0);
        write(&mut self.buffer);
        let length = (self.buffer.len() - start) as u32;
        self.buffer[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// Where whole messages may be appended by hand.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether enough has gathered to be sent.
    pub(crate) fn is_full(&self) -> bool {
        self.buffer.len() >= SEND_BYTES
    }

    /// Sends everything. Blocks while the client does not read.
    pub(crate) fn flush(&mut self, stream: &mut impl Write) -> io::Result<()> {
        if !self.buffer.is_empty() {
            let sent = stream.write_all(&self.buffer);
            match self.buffer.capacity() > 4 * SEND_BYTES {
                true => self.buffer = BytesMut::new(),
                false => self.buffer.clear(),
            }
            sent?;
        }
        stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_written_by_hand_has_its_length() {
        let mut output = Output::default();
        output.push_with(b'd', |body| body.put_slice(b"row\n"));
        let mut sent = Vec::new();
        output.flush(&mut sent).unwrap();
        assert_eq!(sent, b"d\0\0\0\x08row\n");
        output.flush(&mut sent).unwrap();
        assert_eq!(sent.len(), 9, "sent once");
    }
}
