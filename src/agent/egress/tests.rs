use bytes::Bytes;
use http::Request;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::common::tasks::Tasks;
use crate::net::dial::Target;
use crate::net::http_client::{AskFault, Bounds, Opener as _};

const BOUNDS: Bounds = Bounds { answer: ByteSize(4096), within: Duration::from_secs(20) };

/// Answers each request with `hello`, in the clear; gives its port.
async fn server(tasks: &Tasks) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn_detached(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while let Ok(byte) = stream.read_u8().await {
                head.push(byte);
                if head.ends_with(b"\r\n\r\n") {
                    break;
                }
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
            drop(stream.write_all(answer).await);
        }
    });
    port
}

fn clients(settings: Settings) -> Clients {
    Clients::new(settings, None, Clock::manual())
}

fn allow(hosts: &[String]) -> Vec<HostPattern> {
    hosts.iter().map(|host| host.parse().unwrap()).collect()
}

async fn ask(client: &HttpClient, port: u16) -> Result<Bytes, AskFault> {
    let request = Request::get(format!("http://127.0.0.1:{port}/")).body(Bytes::new()).unwrap();
    client.clone().allow_loopback_http().ask(request, BOUNDS).await.map(http::Response::into_body)
}

#[tokio::test]
async fn the_list_counts_and_an_empty_one_means_what_is_named_elsewhere() {
    let tasks = Tasks::new();
    let port = server(&tasks).await;
    let own = HostPort::new("127.0.0.1", port).unwrap();
    let egress = clients(Settings::default());
    let named = egress.client(None, None, vec![own.clone()]).unwrap();
    assert_eq!(ask(&named, port).await.unwrap(), "hello");
    let unnamed = egress.client(None, None, Vec::new()).unwrap();
    let fault = ask(&unnamed, port).await.unwrap_err();
    assert!(fault.not_sent() && fault.to_string().contains("list it under [egress] allow"), "{fault}");
    assert_eq!(egress.state().unreached[0].target, own);
    assert_eq!(ask(&egress.for_trial(None).unwrap(), port).await.unwrap(), "hello", "any other one may");
    assert!(egress.state().unreached.is_empty());

    // A list bounds those that are named too, from the next connection on.
    egress.configure(Settings { allow: allow(&["login.example.com:443".to_owned()]), ..Settings::default() });
    let fault = ask(&named, port).await.unwrap_err().to_string();
    assert!(fault.contains("is not listed under [egress] allow"), "{fault}");
    egress.configure(Settings { allow: allow(&[format!("127.0.0.1:{port}")]), ..Settings::default() });
    assert_eq!(ask(&unnamed, port).await.unwrap(), "hello");
    assert_eq!(egress.state().connections, 0);
}

#[tokio::test]
async fn bounds_hold_whatever_the_way() {
    let tasks = Tasks::new();
    let port = server(&tasks).await;
    let own = HostPort::new("127.0.0.1", port).unwrap();
    let egress =
        clients(Settings { connections: 1, bytes_a_day: Some(ByteSize(300)), ..Settings::default() });
    let client = egress.client(None, None, vec![own.clone()]).unwrap();
    let gate = Gate { inner: Arc::clone(&egress.0), way: None, named: vec![own] };
    let target = Target { host: "127.0.0.1".to_owned(), port };
    let held = gate.open(&target).await.unwrap();
    let fault = ask(&client, port).await.unwrap_err().to_string();
    assert!(fault.contains("[egress] connections"), "{fault}");
    drop(held);
    ask(&client, port).await.unwrap();
    let today = egress.state().bytes_today;
    assert!(today > 50 && today < 300, "{today}");
    let cut = loop {
        if let Err(fault) = ask(&client, port).await {
            break fault;
        }
    };
    assert!(!cut.not_sent() || cut.to_string().contains("bytes-a-day"), "{cut}");
    let fault = ask(&client, port).await.unwrap_err();
    assert!(fault.not_sent() && fault.to_string().contains("bytes-a-day is used up"), "{fault}");
    egress.0.clock.advance(Duration::from_secs(86_400));
    ask(&client, port).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_way_that_is_not_there_says_so() {
    let host = HostPort::new("login.example.com", 443).unwrap();
    let target = Target { host: "login.example.com".to_owned(), port: 443 };
    let egress = clients(Settings::default());
    let why = async |way| {
        let gate = Gate { inner: Arc::clone(&egress.0), way: Some(way), named: vec![host.clone()] };
        gate.open(&target).await.err().unwrap().to_string()
    };
    assert!(why(Way::Proxy).await.contains("[relay] names none"));
    assert!(why(Way::Relay).await.contains("no tunnel to the relay is up"), "not attached yet");
    egress.attach("acme", Vec::new);
    assert!(why(Way::Relay).await.contains("no tunnel to the relay is up"));
    let shown = egress.state().unreached;
    assert_eq!((shown.len(), &shown[0].target), (1, &host));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_given_up_is_noted() {
    let host = HostPort::new("login.example.com", 443).unwrap();
    let egress = clients(Settings::default());
    egress.attach("acme", Vec::new);
    let gate = Gate { inner: Arc::clone(&egress.0), way: Some(Way::Relay), named: vec![host.clone()] };
    let target = Target { host: "login.example.com".to_owned(), port: 443 };
    assert!(tokio::time::timeout(Duration::from_secs(1), gate.open(&target)).await.is_err());
    assert!(egress.state().unreached[0].why.contains("in time"));
    assert_eq!(egress.state().connections, 0);
}
