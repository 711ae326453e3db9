//! A name server on loopback: every name leads to 127.0.0.1, and CAA records are what the test sets (RFC 1035,
//! RFC 8659). UDP alone; answers are small.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Asked by the certificate authority and by `doctor`; gone with the test.
pub(crate) struct NameServer {
    /// Where it answers.
    pub(crate) address: SocketAddr,
    records: Arc<Mutex<Records>>,
}

#[derive(Default)]
struct Records {
    /// Flags, tag, value.
    caa: HashMap<String, Vec<(u8, String, String)>>,
    /// Names of which the server knows nothing at all (SERVFAIL).
    broken: Vec<String>,
    /// Where names lead that do not lead to this machine's usual address.
    elsewhere: HashMap<String, [u8; 4]>,
    /// Names asked for CAA, in order.
    asked: Vec<String>,
}

impl NameServer {
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let address = socket.local_addr().unwrap();
        let records = Arc::new(Mutex::new(Records::default()));
        let kept = Arc::downgrade(&records);
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            // Until the test lets go of it.
            while let Some(records) = kept.upgrade() {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                if let Some(answer) = answer(&buffer[..length], &records) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self { address, records }
    }

    /// These are the CAA records of `name`: flags, tag, value.
    pub(crate) fn set_caa(&self, name: &str, records: &[(u8, &str, &str)]) {
        let records = records
            .iter()
            .map(|(flags, tag, value)| (*flags, (*tag).to_owned(), (*value).to_owned()))
            .collect();
        self.records.lock().unwrap().caa.insert(name.to_owned(), records);
    }

    /// From now on the server fails for `name`.
    pub(crate) fn break_name(&self, name: &str) {
        self.records.lock().unwrap().broken.push(name.to_owned());
    }

    /// `name` leads there, until told otherwise.
    pub(crate) fn lead(&self, name: &str, to: [u8; 4]) {
        self.records.lock().unwrap().elsewhere.insert(name.to_owned(), to);
    }

    /// Which names were asked for CAA records since the last look.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.records.lock().unwrap().asked)
    }
}

const A: u16 = 1;
const CAA: u16 = 257;

fn answer(query: &[u8], records: &Mutex<Records>) -> Option<Vec<u8>> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    let question = query.get(12..at + 4)?;
    let name = labels.join(".");
    let mut records = records.lock().unwrap();
    let data: Vec<Vec<u8>> = match kind {
        A => vec![records.elsewhere.get(&name).copied().unwrap_or([127, 0, 0, 1]).to_vec()],
        CAA => {
            records.asked.push(name.clone());
            let record = |(flags, tag, value): &(u8, String, String)| {
                [&[*flags, u8::try_from(tag.len()).unwrap()], tag.as_bytes(), value.as_bytes()].concat()
            };
            records.caa.get(&name).map(|found| found.iter().map(record).collect()).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let fails = records.broken.contains(&name);
    let mut message = query.get(..2)?.to_vec();
    // An answer, recursion done; SERVFAIL where the name is broken.
    message.extend([0x81, if fails { 0x82 } else { 0x80 }]);
    let answers = if fails { 0 } else { u16::try_from(data.len()).unwrap() };
    for count in [1, answers, 0, 0] {
        message.extend(count.to_be_bytes());
    }
    message.extend(question);
    for data in data.iter().take(usize::from(answers)) {
        // The name is that of the question, at byte 12.
        message.extend([0xc0, 12]);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 1]);
        message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        message.extend(data);
    }
    Some(message)
}

#[tokio::test]
async fn caa_records_are_asked_for_as_they_are() {
    use outhaul::net::caa::CaaResolver;
    let server = NameServer::start();
    let resolver = CaaResolver::new(Some(server.address)).unwrap();
    let value = "ca.example; accounturi=https://ca.example/1; validationmethods=tls-alpn-01";
    server.set_caa("jira.example.test", &[(128, "issue", value), (0, "iodef", "mailto:a@b.test")]);
    server.break_name("broken.example.test");
    let records = resolver.records("jira.example.test").await.unwrap();
    assert_eq!(records.len(), 2);
    let issue = records.iter().find(|record| record.tag == "issue").unwrap();
    assert_eq!((issue.critical, issue.value.as_slice()), (true, value.as_bytes()));
    assert_eq!(resolver.records("other.example.test").await.unwrap(), []);
    // That nothing is known is no answer: an authority must not issue then.
    assert!(resolver.records("broken.example.test").await.is_err());
    assert!(server.asked().iter().any(|name| name == "jira.example.test"));
    assert!(resolver.records("a..b").await.is_err());
}
