//! What the tests of the connection share: frames by hand, and two engines joined in memory.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tidegate_amqp::codec::frame::{
    Frame, FrameKind, ProtocolHeader, write_frame, write_sasl, write_transfer,
};
use tidegate_amqp::codec::performative::*;
use tidegate_amqp::codec::sasl::{SaslFrame, SaslInit};
use tidegate_amqp::codec::value::Symbol;
use tidegate_amqp::connection::*;

pub(crate) const START: Duration = Duration::from_secs(1000);

/// A server's end, and a client whose frames are written by hand.
pub(crate) struct Script {
    pub(crate) server: Connection,
}

impl Script {
    pub(crate) fn new(options: Options) -> Self {
        Self { server: Connection::server(options, Door::default(), START) }
    }

    /// A connection that is open, without SASL, and whose greetings are out of the way.
    pub(crate) fn opened(options: Options, open: Open) -> Self {
        let mut script = Self::new(options);
        script.header(ProtocolHeader::AMQP);
        script.say(0, &open);
        let events = script.events();
        assert!(matches!(events[..], [Event::Opened(_)]), "{events:?}");
        let mut bytes = script.written();
        assert_eq!(ProtocolHeader::take(&mut bytes), Ok(Some(ProtocolHeader::AMQP)));
        assert!(matches!(frames(bytes)[..], [(0, Performative::Open(_), _)]));
        script
    }

    /// The same with a session on channel 0.
    pub(crate) fn begun(options: Options, open: Open, begin: Begin) -> Self {
        let mut script = Self::opened(options, open);
        script.say(0, &begin);
        assert!(matches!(script.events()[..], [Event::SessionBegun { by_peer: true, .. }]));
        assert!(matches!(script.heard()[..], [(0, Performative::Begin(_), _)]));
        script
    }

    pub(crate) fn header(&mut self, header: ProtocolHeader) {
        self.server.feed(&header.to_bytes());
    }

    pub(crate) fn say(&mut self, channel: u16, performative: &impl Encode) {
        let mut bytes = BytesMut::new();
        write_frame(&mut bytes, channel, performative);
        self.server.feed(&bytes);
    }

    pub(crate) fn say_sasl(&mut self, mechanism: &str, response: Option<&'static [u8]>) {
        let init = SaslInit {
            mechanism: Symbol::new(mechanism),
            initial_response: response.map(Bytes::from_static),
            hostname: Some("127.0.0.1".into()),
        };
        let mut bytes = BytesMut::new();
        write_sasl(&mut bytes, &SaslFrame::Init(init));
        self.server.feed(&bytes);
    }

    pub(crate) fn transfer(&mut self, channel: u16, transfer: &Transfer, payload: &[u8]) {
        let mut bytes = BytesMut::new();
        assert_eq!(write_transfer(&mut bytes, channel, transfer, payload, u32::MAX), payload.len());
        self.server.feed(&bytes);
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.server.next_event()).collect()
    }

    /// What the server has written since.
    pub(crate) fn written(&mut self) -> BytesMut {
        let output = self.server.output();
        let bytes = output.copy_to_bytes(output.len());
        BytesMut::from(&bytes[..])
    }

    /// The frames the server has written since.
    pub(crate) fn heard(&mut self) -> Vec<(u16, Performative, Bytes)> {
        frames(self.written())
    }

    /// The link and the attach of the only event.
    pub(crate) fn asked(&mut self) -> (LinkId, Attach) {
        let mut events = self.events();
        match (events.pop(), events.len()) {
            (Some(Event::AttachRequested { link, attach, .. }), 0) => (link, *attach),
            other => panic!("expected a request for a link alone, not {other:?} after {events:?}"),
        }
    }
}

/// The AMQP frames in these bytes, which must be whole. Empty ones are left out.
pub(crate) fn frames(mut bytes: BytesMut) -> Vec<(u16, Performative, Bytes)> {
    let mut frames = Vec::new();
    while let Some(frame) = Frame::take(&mut bytes, u32::MAX).expect("a frame") {
        assert_eq!(frame.kind, FrameKind::Amqp);
        let mut body = frame.body;
        if !body.is_empty() {
            let performative = Performative::decode(&mut body).expect("a performative");
            frames.push((frame.channel, performative, body));
        }
    }
    assert!(bytes.is_empty(), "bytes after the last frame: {bytes:?}");
    frames
}

/// The SASL frames at the front of these bytes, whole ones.
pub(crate) fn sasl_frame(bytes: &mut BytesMut) -> SaslFrame {
    let frame = Frame::take(bytes, 512).expect("a frame").expect("a whole frame");
    assert_eq!(frame.kind, FrameKind::Sasl);
    SaslFrame::decode(&frame.body).expect("a SASL frame")
}

/// Carries bytes from one end to the other, at most `step` at a time, and says whether there were any.
pub(crate) fn carry(from: &mut Connection, to: &mut Connection, step: usize) -> bool {
    if !from.wants_write() || !to.wants_read() {
        return false;
    }
    let output = from.output();
    let chunk = output.chunk();
    let taken = chunk.len().min(step);
    let bytes = chunk[..taken].to_vec();
    output.advance(taken);
    to.read_buffer().extend_from_slice(&bytes);
    true
}

/// A client's and a server's end that have opened.
pub(crate) fn opened_pair(client: Options, server: Options) -> (Connection, Connection) {
    let mut client = Connection::client(client, Login::Anonymous, START);
    let mut server = Connection::server(server, Door::default(), START);
    let mut opened = 0;
    for _ in 0..20 {
        carry(&mut client, &mut server, usize::MAX);
        carry(&mut server, &mut client, usize::MAX);
        while let Some(event) = server.next_event() {
            match event {
                Event::Authenticate(_) => server.authenticated(true),
                Event::Opened(_) => opened += 1,
                other => panic!("{other:?}"),
            }
        }
        while let Some(event) = client.next_event() {
            assert!(matches!(event, Event::Opened(_)), "{event:?}");
            opened += 1;
        }
    }
    assert_eq!(opened, 2);
    (client, server)
}
