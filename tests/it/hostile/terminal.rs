//! What a liar says is shown to people: it must not move their cursor, colour their text or fake a line.

use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::site::LiarSite;

/// Text that would clear a screen and write a lie.
const ESCAPE: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\r\nconnected since ever";

fn is_plain(text: &str) -> bool {
    !text.chars().any(|letter| letter.is_control() && letter != '\n' && letter != '\t')
}

/// The reason with which a relay closes is shown to the administrator by `status` and in the log, without its controls.
#[tokio::test]
async fn a_relay_writes_no_escape_sequences_to_the_administrators_terminal() {
    let mut site = LiarSite::start().await;
    let close = CloseFrame { code: 4004.into(), reason: ESCAPE.into() };
    site.tunnel.say_message(Message::Close(Some(close))).await;
    site.agent.line("the tunnel to the relay was lost").await;
    let status = site.world.agent(&["status"]).await;
    assert!(status.out.contains("owned"), "control: it is shown: {status:?}");
    assert!(is_plain(&status.out), "{:?}", status.out);
    assert!(is_plain(&site.agent.log()), "{:?}", site.agent.log());
    assert!(!status.out.lines().any(|line| line.starts_with("connected since ever")), "{:?}", status.out);
}
