//! AMQP through WebSockets: the bytes of a connection in binary messages, cut anywhere.
//!
//! Event Hubs' clients ask for `/$servicebus/websocket` with the subprotocol `AMQPWSB10`, or with `amqp`, which is the
//! standard's name for it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Utf8Bytes};

/// Where clients ask for it.
pub(super) const PATH: &str = "/$servicebus/websocket";

/// The subprotocols that they speak: Python and JavaScript the first, Rust the second. Both mean the same.
const SUBPROTOCOLS: [&str; 2] = ["AMQPWSB10", "amqp"];

/// The largest message that is taken and made. Peers cut where they like.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
const MESSAGE_BYTES: usize = 64 * 1024;

/// How the WebSocket is set up.
pub(super) fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES))
        .max_write_buffer_size(2 * MAX_MESSAGE_BYTES)
        .write_buffer_size(MESSAGE_BYTES)
}

/// Looks at what a client asks for.
#[expect(clippy::result_large_err, reason = "the library's callback returns it")]
pub(super) fn accept(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let refuse = |status, text: &str| {
        let mut refusal = ErrorResponse::new(Some(format!("{text}\n")));
        *refusal.status_mut() = status;
        Err(refusal)
    };
    if request.uri().path().trim_end_matches('/') != PATH {
        return refuse(
            StatusCode::NOT_FOUND,
            "AMQP is spoken through the WebSocket at /$servicebus/websocket",
        );
    }
    let protocols = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let mut offered = protocols.filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(','));
    let known =
        |protocol: &str| SUBPROTOCOLS.into_iter().find(|known| known.eq_ignore_ascii_case(protocol.trim()));
    let Some(protocol) = offered.find_map(known) else {
        return refuse(StatusCode::BAD_REQUEST, "the subprotocol has to be AMQPWSB10 or amqp");
    };
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    Ok(response)
}

/// A WebSocket as a stream of bytes.
pub(super) struct ByteStream<S> {
    socket: WebSocketStream<S>,
    /// What is left of the last message.
    unread: Bytes,
}

impl<S> ByteStream<S> {
    pub(super) fn new(socket: WebSocketStream<S>) -> Self {
        Self { socket, unread: Bytes::new() }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ByteStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                // AMQP is bytes; the library answers pings.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Text(text))) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, no_text(&text))));
                }
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
            }
        }
        let taken = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..taken]);
        self.unread.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ByteStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(io_error)?;
        let taken = bytes.len().min(MESSAGE_BYTES);
        let message = Message::Binary(Bytes::copy_from_slice(&bytes[..taken]));
        Pin::new(&mut self.socket).start_send(message).map_err(io_error)?;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(io_error)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(io_error)
    }
}

fn no_text(text: &Utf8Bytes) -> String {
    format!("a text message of {} bytes came; AMQP is in binary ones", text.len())
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::ConnectionAborted.into(),
        error => io::Error::other(error),
    }
}
