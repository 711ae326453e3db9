use std::io;
use std::sync::atomic::Ordering;

use futures_util::future::BoxFuture;
use tokio::io::duplex;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::*;

/// A DNS that gives each of its answers once, in order, and the last one for ever; and a network that notes what is
/// dialled.
#[derive(Default)]
struct Outside {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    lookups: AtomicU32,
    /// Lookups of names in `mute.example`, which never end: each holds its place.
    mute: Mutex<Vec<OwnedSemaphorePermit>>,
    dialled: Mutex<Vec<Vec<SocketAddr>>>,
    own: Vec<IpAddr>,
    silent: bool,
    down: bool,
}

impl Outside {
    fn answering(answers: &[&[&str]]) -> Self {
        let read = |answer: &&[&str]| answer.iter().map(|text| text.parse().unwrap()).collect();
        Self { answers: Mutex::new(answers.iter().map(read).collect()), ..Self::default() }
    }

    fn dialled(&self) -> Vec<Vec<SocketAddr>> {
        self.dialled.lock().unwrap().clone()
    }
}

impl Network for Outside {
    fn lookup<'a>(
        &'a self,
        name: &'a str,
        place: OwnedSemaphorePermit,
    ) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        if name.ends_with(".mute.example") {
            self.mute.lock().unwrap().push(place);
            return Box::pin(std::future::pending());
        }
        let mut answers = self.answers.lock().unwrap();
        let answer = match answers.len() {
            0 => Err(io::Error::other(format!("{name} is unknown"))),
            1 => Ok(answers[0].clone()),
            _ => Ok(answers.remove(0)),
        };
        Box::pin(async { answer })
    }

    fn connect<'a>(&'a self, addresses: &'a [SocketAddr]) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        self.dialled.lock().unwrap().push(addresses.to_vec());
        Box::pin(async {
            match (self.silent, self.down) {
                (true, _) => std::future::pending().await,
                (_, true) => Err(io::ErrorKind::ConnectionRefused.into()),
                _ => Ok(Box::new(duplex(16).0) as Box<dyn Stream>),
            }
        })
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.own.contains(&address)
    }
}

struct Bench {
    egress: Egress,
    outside: Arc<Outside>,
    clock: Clock,
}

fn settings() -> Settings {
    Settings {
        allow: vec!["login.example.com:443".parse().unwrap(), "*.wild.example:443".parse().unwrap()],
        also_networks: Vec::new(),
        connections: 100,
        site_connections: 3,
        site_connections_a_second: 1000,
        site_bytes_a_second: ByteSize::mib(1),
        site_bytes_a_day: ByteSize(1000),
        connect_time: Duration::from_secs(10),
        idle_time: Duration::from_secs(60),
        life_time: Duration::from_secs(600),
    }
}

impl Bench {
    fn new(outside: Outside, settings: Settings) -> Self {
        let (outside, clock) = (Arc::new(outside), Clock::manual());
        let egress = Egress::new(
            settings,
            vec![443, 9180],
            outside.clone(),
            RelayMetrics::new(),
            clock.clone(),
            Tasks::new(),
        );
        Self { egress, outside, clock }
    }

    fn answering(answers: &[&[&str]]) -> Self {
        Self::new(Outside::answering(answers), settings())
    }

    fn account(&self) -> Arc<Account> {
        let inner = &self.egress.0;
        Arc::clone(&inner.sites().entry(site()).or_insert_with(|| inner.fresh()).account)
    }

    /// What comes of a target; a connection that was made is dropped.
    async fn ask(&self, target: &str) -> Result<(), (Refusal, String)> {
        let opened = self.egress.0.open(&from(false), target, &self.account()).await.map(|_| ());
        opened.map_err(|refused| (refused.reason, refused.detail))
    }

    async fn refused(&self, target: &str) -> Refusal {
        self.ask(target).await.expect_err(target).0
    }
}

fn site() -> SiteName {
    "acme".parse().unwrap()
}

fn from(paused: bool) -> From {
    From { site: site(), agent: AgentId::generate(), paused }
}

#[tokio::test]
async fn what_is_listed_is_reached_and_nothing_else() {
    let bench = Bench::answering(&[&["1.1.1.1"]]);
    bench.ask("login.example.com:443").await.unwrap();
    bench.ask("LOGIN.EXAMPLE.COM:443").await.unwrap();
    bench.ask("a.b.wild.example:443").await.unwrap();
    let before = bench.outside.lookups.load(Ordering::SeqCst);
    for (target, reason) in [
        ("login.example.com:8443", Refusal::NotListed),
        ("other.example.com:443", Refusal::NotListed),
        ("wild.example:443", Refusal::NotListed),
        ("1.1.1.1:443", Refusal::NotListed),
        ("[::1]:443", Refusal::NotListed),
        ("localhost:443", Refusal::NotListed),
        ("login.example.com.:443", Refusal::BadTarget),
        ("login.example.com", Refusal::BadTarget),
        ("login.example.com:443\n", Refusal::BadTarget),
        ("login.example.com:443@evil.example:443", Refusal::BadTarget),
        ("lоgin.example.com:443", Refusal::BadTarget), // a Cyrillic о
        ("*.wild.example:443", Refusal::BadTarget),
        ("", Refusal::BadTarget),
    ] {
        assert_eq!(bench.refused(target).await, reason, "{target}");
    }
    assert_eq!(
        bench.outside.lookups.load(Ordering::SeqCst),
        before,
        "no name is looked up for what is refused"
    );
    assert_eq!(bench.outside.dialled().len(), 3);
}

#[tokio::test]
async fn a_site_has_a_list_of_its_own_and_another_site_has_not() {
    let bench = Bench::new(Outside::answering(&[&["1.1.1.1"]]), Settings { allow: Vec::new(), ..settings() });
    assert_eq!(bench.refused("login.example.com:443").await, Refusal::Off);
    let hosts = vec!["login.example.com:443".parse().unwrap()];
    bench.egress.allow(&"other".parse().unwrap(), hosts.clone());
    assert_eq!(bench.refused("login.example.com:443").await, Refusal::Off);
    bench.egress.allow(&site(), hosts);
    bench.ask("login.example.com:443").await.unwrap();
    assert_eq!(bench.refused("graph.example.com:443").await, Refusal::NotListed);
    bench.egress.allow(&site(), Vec::new());
    assert_eq!(bench.refused("login.example.com:443").await, Refusal::Off);
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_followed() {
    for inside in [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "100.100.100.200",
        "::1",
        "fd00:ec2::254",
        "fe80::1",
        "::ffff:192.168.1.1",
        "64:ff9b::10.0.0.1",
        "2002:a00:1::1",
        "0.0.0.0",
        "255.255.255.255",
    ] {
        let bench = Bench::answering(&[&[inside]]);
        assert_eq!(bench.refused("login.example.com:443").await, Refusal::ForbiddenAddress, "{inside}");
        assert!(bench.outside.dialled().is_empty(), "{inside}");
    }
    // Listed as a literal, it is judged all the same.
    let allow = vec!["10.0.0.1:443".parse().unwrap(), "localhost:443".parse().unwrap()];
    let bench = Bench::new(Outside::default(), Settings { allow, ..settings() });
    assert_eq!(bench.refused("10.0.0.1:443").await, Refusal::ForbiddenAddress);
    assert_eq!(bench.refused("localhost:443").await, Refusal::ForbiddenAddress);
}

#[tokio::test]
async fn good_addresses_do_not_cover_a_bad_one() {
    for answer in
        [&["1.1.1.1", "10.0.0.1"][..], &["10.0.0.1", "1.1.1.1"], &["2606:4700::1111", "::1", "1.1.1.1"]]
    {
        let bench = Bench::answering(&[answer]);
        let (reason, detail) = bench.ask("login.example.com:443").await.unwrap_err();
        assert_eq!(reason, Refusal::ForbiddenAddress, "{answer:?}");
        assert!(detail.contains("10.0.0.1 is private") || detail.contains("::1 is loopback"), "{detail}");
        assert!(bench.outside.dialled().is_empty());
    }
}

#[tokio::test]
async fn an_answer_that_changes_gains_nothing() {
    let bench = Bench::answering(&[&["1.1.1.1", "2606:4700::1111"], &["127.0.0.1"]]);
    bench.ask("login.example.com:443").await.unwrap();
    // One question for one connection, and exactly what was judged is dialled.
    assert_eq!(bench.outside.lookups.load(Ordering::SeqCst), 1);
    let judged = ["1.1.1.1:443".parse().unwrap(), "[2606:4700::1111]:443".parse().unwrap()];
    assert_eq!(bench.outside.dialled(), [judged]);
    assert_eq!(bench.refused("login.example.com:443").await, Refusal::ForbiddenAddress);
    assert_eq!(bench.outside.dialled().len(), 1);
}

#[tokio::test]
async fn this_machine_is_not_reached_by_its_public_addresses_either() {
    let own: IpAddr = "1.2.3.4".parse().unwrap();
    let outside = || Outside { own: vec![own], ..Outside::answering(&[&["1.2.3.4"]]) };
    let allow: Vec<HostPattern> =
        ["a.example.com:443", "a.example.com:8443"].map(|text| text.parse().unwrap()).into();
    let bench = Bench::new(outside(), Settings { allow: allow.clone(), ..settings() });
    assert_eq!(bench.refused("a.example.com:8443").await, Refusal::ForbiddenAddress);
    // A listed network opens other programs of this machine, never the relay's own ports.
    let also_networks = vec!["1.2.3.0/24".parse().unwrap()];
    let bench = Bench::new(outside(), Settings { allow, also_networks, ..settings() });
    bench.ask("a.example.com:8443").await.unwrap();
    let (reason, detail) = bench.ask("a.example.com:443").await.unwrap_err();
    assert_eq!((reason, detail.as_str()), (Refusal::ForbiddenAddress, "1.2.3.4 is this relay itself"));
}

#[tokio::test]
async fn this_machine_is_not_reached_through_a_translator_either() {
    // The relay's own address as NAT64 writes it, by name and as a literal.
    let own: IpAddr = "1.2.3.4".parse().unwrap();
    let outside = || Outside { own: vec![own], ..Outside::answering(&[&["64:ff9b::1.2.3.4"]]) };
    let allow: Vec<HostPattern> = ["a.example.com:443", "a.example.com:8443", "[64:ff9b::102:304]:8443"]
        .map(|text| text.parse().unwrap())
        .into();
    let bench = Bench::new(outside(), Settings { allow: allow.clone(), ..settings() });
    for (target, whose) in [
        ("a.example.com:443", "64:ff9b::102:304 is this relay itself"),
        ("a.example.com:8443", "64:ff9b::102:304 is this machine's own"),
        ("[64:ff9b::102:304]:8443", "64:ff9b::102:304 is this machine's own"),
    ] {
        let (reason, detail) = bench.ask(target).await.unwrap_err();
        assert_eq!((reason, detail.as_str()), (Refusal::ForbiddenAddress, whose), "{target}");
    }
    assert!(bench.outside.dialled().is_empty());
    // A list opens it as far as it opens the address itself; one of IPv6 opens nothing.
    for (network, opens) in [("1.2.3.0/24", true), ("64:ff9b::/96", false)] {
        let also_networks = vec![network.parse().unwrap()];
        let bench = Bench::new(outside(), Settings { allow: allow.clone(), also_networks, ..settings() });
        assert_eq!(bench.ask("a.example.com:8443").await.is_ok(), opens, "{network}");
        assert_eq!(bench.refused("a.example.com:443").await, Refusal::ForbiddenAddress, "{network}");
    }
    // Others are reached by it.
    let bench =
        Bench::new(Outside { own: vec![own], ..Outside::answering(&[&["64:ff9b::1.1.1.1"]]) }, settings());
    bench.ask("login.example.com:443").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn names_without_an_answer_take_no_lookups_of_other_sites() {
    let allow = vec!["*.mute.example:443".parse().unwrap(), "login.example.com:443".parse().unwrap()];
    let bench = Bench::new(
        Outside::answering(&[&["1.1.1.1"]]),
        Settings { allow, site_connections: 100, ..settings() },
    );
    let account = bench.account();
    let inner = &bench.egress.0;
    let who = from(false);
    let silent = async |number: u32| {
        let opened = inner.open(&who, &format!("a{number}.mute.example:443"), &account).await.map(|_| ());
        opened.map_err(|refused| refused.reason)
    };
    let all = futures_util::future::join_all((0..40).map(&silent)).await;
    assert!(all.iter().all(|one| *one == Err(Refusal::TooSlow)), "{all:?}");
    // The askers are gone, the lookups are not: still no further one begins, of any name.
    assert_eq!(bench.outside.lookups.load(Ordering::SeqCst), 8);
    assert_eq!(bench.refused("login.example.com:443").await, Refusal::TooSlow);
    assert_eq!(bench.outside.lookups.load(Ordering::SeqCst), 8);
    let other: SiteName = "other".parse().unwrap();
    bench.egress.allow(&other, Vec::new());
    let elsewhere = Arc::clone(&inner.sites()[&other].account);
    let reached = inner.open(&From { site: other, ..from(false) }, "login.example.com:443", &elsewhere).await;
    assert!(reached.is_ok(), "another site has its own");
    bench.outside.mute.lock().unwrap().pop();
    bench.ask("login.example.com:443").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn hosts_that_do_not_answer_are_told_apart() {
    let bench = Bench::new(Outside::default(), settings());
    assert_eq!(bench.refused("login.example.com:443").await, Refusal::Unresolved);
    let bench = Bench::answering(&[&[]]);
    assert_eq!(bench.refused("login.example.com:443").await, Refusal::Unresolved);
    let bench = Bench::new(Outside { down: true, ..Outside::answering(&[&["1.1.1.1"]]) }, settings());
    assert_eq!(bench.refused("login.example.com:443").await, Refusal::Unreachable);
    let bench = Bench::new(Outside { silent: true, ..Outside::answering(&[&["1.1.1.1"]]) }, settings());
    assert_eq!(bench.refused("login.example.com:443").await, Refusal::TooSlow);
    let (who, account) = (from(true), bench.account());
    let paused = bench.egress.0.open(&who, "login.example.com:443", &account).await;
    assert!(matches!(paused, Err(Refused { reason: Refusal::Paused, .. })));
}

#[tokio::test]
async fn places_are_bounded_and_given_back() {
    let bench = Bench::new(Outside::answering(&[&["1.1.1.1"]]), Settings { connections: 2, ..settings() });
    let inner = &bench.egress.0;
    let account = bench.account();
    let (who, target) = (from(false), "login.example.com:443");
    let open = async || inner.open(&who, target, &account).await;
    let (first, _second) = (open().await.ok().unwrap(), open().await.ok().unwrap());
    assert_eq!(bench.refused(target).await, Refusal::TooMany);
    // All sites share the whole.
    let other: SiteName = "other".parse().unwrap();
    bench.egress.allow(&other, Vec::new());
    let elsewhere = Arc::clone(&inner.sites()[&other].account);
    let refused = inner.open(&From { site: other, ..from(false) }, target, &elsewhere).await;
    assert!(matches!(refused, Err(Refused { reason: Refusal::TooMany, .. })));
    assert_eq!(bench.egress.usage(&site()).connections, 2);
    drop(first);
    let _third = open().await.ok().unwrap();
    assert_eq!(bench.egress.usage(&site()).connections, 2);

    let bench = Bench::new(
        Outside::answering(&[&["1.1.1.1"]]),
        Settings { site_connections: 2, site_connections_a_second: 2, ..settings() },
    );
    // Refused ones count too: nobody asks the relay's DNS, or its lists, faster than that.
    assert_eq!(bench.refused("other.example.com:443").await, Refusal::NotListed);
    bench.ask(target).await.unwrap();
    assert_eq!(bench.refused(target).await, Refusal::TooMany);
    bench.clock.advance(Duration::from_millis(500));
    bench.ask(target).await.unwrap();
}

struct Carrying {
    account: Account,
    bytes: crate::relay::metrics::EgressBytes,
    clock: Clock,
    denied: CancellationToken,
}

impl Carrying {
    fn new(settings: &Settings) -> Self {
        Self {
            account: Account::new(settings),
            bytes: RelayMetrics::new().egress_bytes("acme"),
            clock: Clock::manual(),
            denied: CancellationToken::new(),
        }
    }

    fn terms(&self) -> Terms<'_> {
        Terms {
            account: &self.account,
            bytes: &self.bytes,
            clock: &self.clock,
            idle: Duration::from_secs(60),
            life: Duration::from_secs(600),
            denied: self.denied.clone(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_direction_ends_by_itself() {
    let carrying = Carrying::new(&settings());
    let ((mut agent, mut stream), (mut host, mut server)) = (duplex(64), duplex(64));
    let terms = carrying.terms();
    let talk = async {
        agent.write_all(b"question").await.unwrap();
        agent.shutdown().await.unwrap();
        let mut asked = Vec::new();
        server.read_to_end(&mut asked).await.unwrap();
        server.write_all(b"answer").await.unwrap();
        server.shutdown().await.unwrap();
        let mut answered = Vec::new();
        agent.read_to_end(&mut answered).await.unwrap();
        (asked, answered)
    };
    let (ended, talked) = tokio::join!(carry(&mut stream, &mut host, &terms), talk);
    assert!(matches!(ended, Ended::Done), "{ended:?}");
    assert_eq!(talked, (b"question".to_vec(), b"answer".to_vec()));
    let usage = carrying.account.usage(carrying.clock.unix_seconds());
    assert_eq!((usage.bytes_out, usage.bytes_back, usage.bytes_today), (8, 6, 14));
}

#[tokio::test(start_paused = true)]
async fn what_lasts_idles_or_runs_over_is_cut_off() {
    // Nothing passes.
    let carrying = Carrying::new(&settings());
    let ((_agent, mut stream), (mut host, _server)) = (duplex(64), duplex(64));
    let ended = carry(&mut stream, &mut host, &carrying.terms()).await;
    assert!(matches!(ended, Ended::Idle), "{ended:?}");
    assert_eq!(ended.code(), Some(ResetCode::Timeout));

    // Something passes now and then, for ever.
    let ((mut agent, mut stream), (mut host, mut server)) = (duplex(64), duplex(64));
    let terms = carrying.terms();
    let chatting = async {
        loop {
            agent.write_all(b"x").await.unwrap();
            server.read_u8().await.unwrap();
            tokio::time::sleep(Duration::from_secs(50)).await;
        }
    };
    let ended = tokio::select! {
        ended = carry(&mut stream, &mut host, &terms) => ended,
        () = chatting => unreachable!(),
    };
    assert!(matches!(ended, Ended::Old), "{ended:?}");

    // More than a day's bytes.
    let ((mut agent, mut stream), (mut host, mut server)) = (duplex(4096), duplex(4096));
    agent.write_all(&[7; 1001]).await.unwrap();
    let ended = carry(&mut stream, &mut host, &carrying.terms()).await;
    assert!(matches!(ended, Ended::Quota), "{ended:?}");
    assert_eq!(ended.code(), Some(ResetCode::Quota));
    assert!(carrying.account.is_used_up(carrying.clock.unix_seconds()));
    drop(host);
    let mut passed = Vec::new();
    server.read_to_end(&mut passed).await.unwrap();
    assert!(passed.is_empty(), "what is over the quota does not pass");

    // The list changed.
    let carrying = Carrying::new(&settings());
    let ((_agent, mut stream), (mut host, _server)) = (duplex(64), duplex(64));
    carrying.denied.cancel();
    let ended = carry(&mut stream, &mut host, &carrying.terms()).await;
    assert_eq!(ended.code(), Some(ResetCode::Denied));
}

#[tokio::test(start_paused = true)]
async fn bytes_are_paced() {
    let generous = Settings {
        site_bytes_a_second: ByteSize::kib(64),
        site_bytes_a_day: ByteSize::mib(100),
        ..settings()
    };
    let mut carrying = Carrying::new(&generous);
    // Time passes for the account as it does for the runtime.
    carrying.clock = Clock::manual();
    let ((mut agent, mut stream), (mut host, mut server)) = (duplex(4096), duplex(4096));
    let terms = carrying.terms();
    let begun = tokio::time::Instant::now();
    let talk = async {
        let writing = async {
            agent.write_all(&vec![7; 320 * 1024]).await.unwrap();
            agent.shutdown().await.unwrap();
        };
        let reading = async {
            let mut all = Vec::new();
            server.read_to_end(&mut all).await.unwrap();
            server.shutdown().await.unwrap();
            all.len()
        };
        let ((), read) = tokio::join!(writing, reading);
        let mut nothing = Vec::new();
        agent.read_to_end(&mut nothing).await.unwrap();
        read
    };
    let (ended, read) = tokio::join!(carry(&mut stream, &mut host, &terms), talk);
    assert!(matches!(ended, Ended::Done), "{ended:?}");
    assert_eq!(read, 320 * 1024);
    // The account's clock stood still, so every wait grew: at the least four seconds beyond the burst of one.
    assert!(begun.elapsed() >= Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_list_ends_connections_to_what_is_gone() {
    let bench = Bench::answering(&[&["1.1.1.1"]]);
    let account = bench.account();
    let kept = account.list(&"login.example.com:443".parse().unwrap());
    let other: HostPort = "other.example.com:443".parse().unwrap();
    bench.egress.allow(&site(), vec![other.clone().into()]);
    let gone = account.list(&other);
    bench.egress.allow(&site(), vec![other.into()]);
    assert!(!gone.denied.is_cancelled());
    bench.egress.allow(&site(), Vec::new());
    assert!(gone.denied.is_cancelled() && !kept.denied.is_cancelled());
    bench.egress.forget(&site());
    assert!(kept.denied.is_cancelled(), "a removed site keeps nothing");
}

#[test]
fn a_site_that_asks_much_fills_no_log() {
    let bench = Bench::answering(&[]);
    let account = bench.account();
    let said = (0..1000).filter(|_| account.may_say(bench.clock.now()).is_some()).count();
    assert_eq!(said, 10);
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(account.may_say(bench.clock.now()), Some(990));
}
