//! COPY FROM STDIN and COPY TO STDOUT, in either protocol.

use bytes::BufMut;
use pgwire::messages::copy::{CopyDone, CopyInResponse, CopyOutResponse};
use weir_engine::{CopyIn, CopyOut};
use weir_sql::statement::CopyFormat;

use super::connection::{Connection, Stop};
use super::failure::Failure;
use super::frontend::Message;

impl Connection<'_> {
    /// Takes the client's data until it ends. Rows are counted once they are committed.
    pub(super) fn copy_in(&mut self, mut copy: CopyIn) -> Result<(), Stop> {
        let (format, columns) = layout(copy.format(), copy.column_count());
        self.output.push(&CopyInResponse::new(format, columns.len() as i16, columns));
        self.flush()?;
        if let Err(stop) = self.take_data(&mut copy) {
            copy.abort(&mut self.session);
            return Err(stop);
        }
        let tag = copy.finish(&mut self.session)?;
        self.complete(tag);
        Ok(())
    }

    fn take_data(&mut self, copy: &mut CopyIn) -> Result<(), Stop> {
        loop {
            let frame = self.read_frame()?;
            let tag = frame.tag;
            match Message::decode(frame).map_err(Failure::from)? {
                Message::CopyData(bytes) => copy.push(&bytes)?,
                Message::CopyDone => return Ok(()),
                Message::CopyFail(reason) => {
                    return Err(Failure::new("57014", format!("COPY from stdin failed: {reason}")).into());
                }
                // A client may have sent its Sync along with the Execute.
                Message::Flush | Message::Sync => {}
                Message::Terminate => {
                    return Err(Failure::fatal("08006", "connection ended during COPY from stdin").into());
                }
                _ => {
                    let message = format!("unexpected message type 0x{tag:02X} during COPY from stdin");
                    return Err(Failure::protocol(message).into());
                }
            }
        }
    }

    /// Sends the data, one row a message, as clients expect it.
    pub(super) fn copy_out(&mut self, mut copy: CopyOut) -> Result<(), Stop> {
        let (format, columns) = layout(copy.format(), copy.column_count());
        self.output.push(&CopyOutResponse::new(format, columns.len() as i16, columns));
        while let Some(bytes) = copy.next()? {
            self.output.push_with(b'd', |body| body.put_slice(bytes));
            self.flush_if_full()?;
        }
        self.output.push(&CopyDone::new());
        self.complete(copy.tag());
        Ok(())
    }
}

/// The format code of the whole, and of each column.
fn layout(format: CopyFormat, columns: usize) -> (i8, Vec<i16>) {
    let code = i8::from(format == CopyFormat::Binary);
    (code, vec![code.into(); columns])
}
