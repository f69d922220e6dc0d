//! The mail catcher, against clients that are not ours.

use tidegate_alerts::catcher::{Catcher, MAX_MAIL};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Everything the catcher says to a client that says all of this at once and hangs up.
async fn answers(catcher: &Catcher, said: &[u8]) -> String {
    let mut stream = TcpStream::connect(catcher.address()).await.unwrap();
    stream.write_all(said).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).await.unwrap();
    String::from_utf8(answers).unwrap()
}

#[tokio::test]
async fn a_mail_is_handed_over_as_it_came() {
    let (catcher, mut mails) = Catcher::listen(0).await.unwrap();
    let said = "HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n\
                Subject: one\r\n two\r\n\r\n..dot\r\n.\r\nQUIT\r\n";
    let answers = answers(&catcher, said.as_bytes()).await;
    assert!(answers.ends_with("250 caught\r\n221 bye\r\n"), "{answers}");
    let mail = mails.recv().await.unwrap();
    assert_eq!((mail.from.as_str(), mail.to), ("a@b", vec!["c@d".to_owned(), "e@f".to_owned()]));
    assert_eq!(mail.raw, "Subject: one\r\n two\r\n\r\n.dot\r\n");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_what_is_too_large_is_not_kept() {
    let (catcher, mut mails) = Catcher::listen(0).await.unwrap();
    let nonsense = answers(&catcher, b"RCPT TO:<c@d>\r\nDATA\r\nAUTH\r\n\xff\r\n").await;
    let codes: Vec<_> = nonsense.lines().map(|line| &line[..3]).collect();
    assert_eq!(codes, ["220", "503", "503", "502", "502"]);

    let mut large = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n".to_vec();
    while large.len() <= MAX_MAIL + 100 {
        large.extend_from_slice(&[b'x'; 900]);
        large.extend_from_slice(b"\r\n");
    }
    large.extend_from_slice(b".\r\nQUIT\r\n");
    let refused = answers(&catcher, &large).await;
    assert!(refused.contains("552 too large"), "{refused}");
    drop(catcher);
    assert_eq!(mails.recv().await, None);
}
