//! Bytes between a stream of Tokio and the state machine. Nothing is copied on the way: the stream writes from the
//! connection's output and reads into its buffer.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use ::tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::connection::Connection;

/// What a stream did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// Bytes went out, came in, or both.
    Bytes {
        /// How many went out.
        written: usize,
        /// How many came in.
        read: usize,
    },
    /// It has ended.
    End,
}

/// Writes what is to be written and, if it `reads`, reads what there is; it returns as soon as one of the two has moved. It
/// may be given up at any time: nothing is lost by that.
///
/// # Errors
/// What the stream says, once everything that came before is read: the last of it may say why.
pub async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    connection: &mut Connection,
    reads: bool,
) -> io::Result<Moved> {
    poll_fn(|context| poll_exchange(stream, connection, reads, context)).await
}

fn poll_exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    connection: &mut Connection,
    reads: bool,
    context: &mut Context<'_>,
) -> Poll<io::Result<Moved>> {
    let (mut written, mut read) = (0, 0);
    let mut failed = None;
    while connection.wants_write() {
        match pin!(stream.write_buf(connection.output())).poll(context) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Moved::End)),
            Poll::Ready(Ok(bytes)) => written += bytes,
            Poll::Ready(Err(error)) => {
                failed = Some(error);
                break;
            }
            Poll::Pending => break,
        }
    }
    if failed.is_none()
        && let Poll::Ready(Err(error)) = Pin::new(&mut *stream).poll_flush(context)
    {
        failed = Some(error);
    }
    if reads && connection.wants_read() {
        match pin!(stream.read_buf(connection.read_buffer())).poll(context) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Moved::End)),
            Poll::Ready(Ok(bytes)) => read += bytes,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => {}
        }
    }
    match failed {
        _ if written + read > 0 => Poll::Ready(Ok(Moved::Bytes { written, read })),
        Some(error) => Poll::Ready(Err(error)),
        None => Poll::Pending,
    }
}

/// Writes what is left to be written, and closes the stream. Whether the other end takes it does not matter any more.
pub async fn finish<S: AsyncWrite + Unpin>(stream: &mut S, connection: &mut Connection) {
    while connection.wants_write() {
        match stream.write_buf(connection.output()).await {
            Ok(written) if written > 0 => {}
            _ => break,
        }
    }
    let _ = stream.shutdown().await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::connection::{Ending, Event, Login, Options};

    #[::tokio::test]
    async fn what_came_before_the_end_is_read_although_nothing_can_be_written_any_more() {
        let (mut ours, mut theirs) = ::tokio::io::duplex(64);
        theirs.write_all(b"HTTP/1.1 400 Bad").await.expect("there is room");
        drop(theirs);
        let mut connection = Connection::client(Options::new("test"), Login::Anonymous, Duration::ZERO);
        assert!(connection.wants_write());
        assert!(matches!(exchange(&mut ours, &mut connection, true).await, Ok(Moved::Bytes { .. })));
        let said = std::iter::from_fn(|| connection.next_event()).any(|event| {
            matches!(event, Event::Closed(Ending::OtherProtocol(first)) if first.starts_with(b"HTTP"))
        });
        assert!(said, "it tells what the other end is");
        let (mut ours, theirs) = ::tokio::io::duplex(64);
        drop(theirs);
        let mut connection = Connection::client(Options::new("test"), Login::Anonymous, Duration::ZERO);
        let ended = exchange(&mut ours, &mut connection, true).await;
        assert!(matches!(ended, Ok(Moved::End) | Err(_)), "{ended:?}");
        // Who must not read hears of the end by writing.
        assert!(exchange(&mut ours, &mut connection, false).await.is_err());
    }
}
