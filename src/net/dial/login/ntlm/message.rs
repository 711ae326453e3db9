//! The three messages of NTLM (MS-NLMP 2.2.1) and the response of version 2 (3.3.2). Pure.

use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit as _, Mac as _};
use md4::{Digest as _, Md4};
use md5::Md5;
use zeroize::Zeroizing;

use crate::common::secret::Secret;

/// Who logs in.
pub(super) struct Account {
    /// Empty where the user name says it all (`user@REALM`), or for an account of the proxy's own.
    domain: String,
    user: String,
    password: Secret<String>,
}

impl Account {
    /// From `DOMAIN\user:password`, `user@REALM:password` or `user:password`.
    pub(super) fn parse(pair: &str) -> Self {
        let (name, password) = pair.split_once(':').unwrap_or((pair, ""));
        let (domain, user) = name.split_once('\\').unwrap_or(("", name));
        Self { domain: domain.to_owned(), user: user.to_owned(), password: Secret::new(password.to_owned()) }
    }

    /// NTOWFv2 (3.3.2): the key that stands for the password.
    fn key(&self) -> Zeroizing<[u8; 16]> {
        let password = Zeroizing::new(utf16(self.password.expose()));
        let hash = Zeroizing::new(<[u8; 16]>::from(Md4::digest(password.as_slice())));
        let name = [self.user.to_uppercase(), self.domain.clone()].concat();
        Zeroizing::new(hmac_md5(hash.as_slice(), &[&utf16(&name)]))
    }
}

const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";
const UNICODE: u32 = 0x0000_0001;
const REQUEST_TARGET: u32 = 0x0000_0004;
const NTLM: u32 = 0x0000_0200;
const ALWAYS_SIGN: u32 = 0x0000_8000;
const EXTENDED_SESSION_SECURITY: u32 = 0x0008_0000;
const TARGET_INFO: u32 = 0x0080_0000;
const WANTED: u32 = UNICODE | REQUEST_TARGET | NTLM | ALWAYS_SIGN | EXTENDED_SESSION_SECURITY | TARGET_INFO;

/// NEGOTIATE (2.2.1.1), without domain and workstation.
pub(super) fn negotiate() -> Vec<u8> {
    [SIGNATURE.as_slice(), &1_u32.to_le_bytes(), &WANTED.to_le_bytes(), &[0; 16]].concat()
}

/// CHALLENGE (2.2.1.2), as far as it counts here.
pub(super) struct ServerChallenge {
    flags: u32,
    nonce: [u8; 8],
    target_info: Vec<u8>,
}

impl ServerChallenge {
    /// Reads it, or says what is wrong with it.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.get(..8) != Some(SIGNATURE) || u32_at(bytes, 8) != Some(2) {
            return Err("is no NTLM challenge");
        }
        let short = "is cut short";
        let flags = u32_at(bytes, 20).ok_or(short)?;
        let nonce = array(bytes, 24).ok_or(short)?;
        // Old servers have something else in its place, whatever the flag says.
        let target_info =
            target_info(bytes).filter(|_| flags & TARGET_INFO != 0).unwrap_or_default().to_vec();
        Ok(Self { flags, nonce, target_info })
    }
}

fn target_info(bytes: &[u8]) -> Option<&[u8]> {
    let length = array(bytes, 40).map(u16::from_le_bytes)?;
    let from = u32_at(bytes, 44).and_then(|from| usize::try_from(from).ok())?;
    bytes.get(from..from.checked_add(usize::from(length))?)
}

/// AUTHENTICATE (2.2.1.3). `said` is what both sides said before, for the integrity code; `nonce` is random.
pub(super) fn authenticate(
    account: &Account,
    server: &ServerChallenge,
    said: &[u8],
    service: &str,
    nonce: [u8; 8],
    now: SystemTime,
) -> Secret<Vec<u8>> {
    let pairs = Pairs::read(&server.target_info);
    let time = pairs.time.unwrap_or_else(|| file_time(now));
    // Who tells the time knows the integrity code, and wants it (3.1.5.1.2).
    let with_code = pairs.time.is_some();
    let info = if server.target_info.is_empty() { Vec::new() } else { pairs.extended(with_code, service) };
    let key = account.key();
    let response = Response::new(&key, server.nonce, nonce, time, &info);
    let lm = if with_code { [0; 24] } else { lm_response(&key, server.nonce, nonce) };

    let unicode = server.flags & UNICODE != 0;
    let text = |text: &str| if unicode { utf16(text) } else { text.as_bytes().to_vec() };
    let (domain, user) = (text(&account.domain), text(&account.user));
    let workstation = text("OUTHAUL");
    let flags = server.flags & WANTED | NTLM;
    let flags = if unicode { flags } else { flags | OEM };

    let mut head = [SIGNATURE.as_slice(), &3_u32.to_le_bytes()].concat();
    let mut payload = Vec::new();
    for part in [lm.as_slice(), &response.bytes, &domain, &user, &workstation, &[]] {
        // A name in a configuration and a challenge of a bounded head: no part comes near 64 KB.
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX).to_le_bytes();
        let from = u32::try_from(HEAD + payload.len()).unwrap_or(u32::MAX).to_le_bytes();
        head.extend([length, length].concat());
        head.extend(from);
        payload.extend(part);
    }
    head.extend(flags.to_le_bytes());
    head.extend([0; 8]);
    let before = [head.as_slice(), &[0; 16], &payload].concat();
    let code = if with_code { hmac_md5(response.session_key.as_slice(), &[said, &before]) } else { [0; 16] };
    Secret::new([head.as_slice(), &code, &payload].concat())
}

const OEM: u32 = 0x0000_0002;
/// All of AUTHENTICATE before its payload: signature, type, six fields, flags, version, integrity code.
const HEAD: usize = 8 + 4 + 6 * 8 + 4 + 8 + 16;

/// The response of version 2 and the session key that comes of it (3.3.2).
struct Response {
    bytes: Vec<u8>,
    session_key: Zeroizing<[u8; 16]>,
}

impl Response {
    fn new(key: &[u8; 16], server: [u8; 8], client: [u8; 8], time: u64, info: &[u8]) -> Self {
        let temp =
            [&[1, 1, 0, 0, 0, 0, 0, 0], time.to_le_bytes().as_slice(), &client, &[0; 4], info, &[0; 4]]
                .concat();
        let proof = hmac_md5(key, &[&server, &temp]);
        let session_key = Zeroizing::new(hmac_md5(key, &[&proof]));
        Self { bytes: [proof.as_slice(), &temp].concat(), session_key }
    }
}

fn lm_response(key: &[u8; 16], server: [u8; 8], client: [u8; 8]) -> [u8; 24] {
    let mut response = [0; 24];
    for (to, from) in response.iter_mut().zip(hmac_md5(key, &[&server, &client]).into_iter().chain(client)) {
        *to = from;
    }
    response
}

/// The pairs of the target information (2.2.2.1).
struct Pairs<'a> {
    /// All but the end, flags and service name, which are written anew.
    kept: Vec<(u16, &'a [u8])>,
    flags: u32,
    time: Option<u64>,
}

const END: u16 = 0;
const FLAGS: u16 = 6;
const TIMESTAMP: u16 = 7;
const TARGET_NAME: u16 = 9;
/// Flag: the message has an integrity code.
const HAS_CODE: u32 = 2;

impl<'a> Pairs<'a> {
    /// What can be read; a list that breaks off ends there.
    fn read(mut bytes: &'a [u8]) -> Self {
        let mut pairs = Self { kept: Vec::new(), flags: 0, time: None };
        while let (Some(id), Some(length)) = (array(bytes, 0), array(bytes, 2)) {
            let (id, length) = (u16::from_le_bytes(id), usize::from(u16::from_le_bytes(length)));
            let Some(value) = bytes.get(4..4 + length) else { break };
            bytes = bytes.get(4 + length..).unwrap_or_default();
            match id {
                END => break,
                FLAGS => pairs.flags = u32_at(value, 0).unwrap_or_default(),
                TARGET_NAME => {}
                TIMESTAMP => {
                    pairs.time = array(value, 0).map(u64::from_le_bytes);
                    pairs.kept.push((id, value));
                }
                _ => pairs.kept.push((id, value)),
            }
        }
        pairs
    }

    /// As the client sends them back.
    fn extended(&self, with_code: bool, service: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut push = |id: u16, value: &[u8]| {
            bytes.extend(id.to_le_bytes());
            bytes.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
            bytes.extend(value);
        };
        for (id, value) in &self.kept {
            push(*id, value);
        }
        if with_code {
            push(FLAGS, &(self.flags | HAS_CODE).to_le_bytes());
        }
        push(TARGET_NAME, &utf16(service));
        push(END, &[]);
        bytes
    }
}

/// Ticks of 100 ns since 1601.
fn file_time(now: SystemTime) -> u64 {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() + Duration::from_secs(TO_1970);
    u64::try_from(since.as_nanos() / 100).unwrap_or(u64::MAX)
}

/// Seconds from 1601 to 1970.
const TO_1970: u64 = 11_644_473_600;

fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    // HMAC takes a key of any length.
    let Ok(mut hmac) = Hmac::<Md5>::new_from_slice(key) else { return [0; 16] };
    for part in parts {
        hmac.update(part);
    }
    hmac.finalize().into_bytes().into()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<char> = text.chars().filter(char::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
            .collect()
    }

    fn account() -> Account {
        Account::parse("Domain\\User:Password")
    }

    /// The target information of MS-NLMP 4.2.4: domain and computer.
    fn target_info() -> Vec<u8> {
        hex("02000c0044006f006d00610069006e0001000c005300650072007600650072000000 0000")
    }

    const SERVER: [u8; 8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
    const CLIENT: [u8; 8] = [0xaa; 8];

    /// The values that MS-NLMP prints in 4.2.4.
    #[test]
    fn the_published_vectors() {
        let key = account().key();
        assert_eq!(key.as_slice(), hex("0c868a403bfd7a93a3001ef22ef02e3f"), "4.2.4.1.1 NTOWFv2");
        let response = Response::new(&key, SERVER, CLIENT, 0, &target_info());
        let temp = "0101000000000000 0000000000000000 aaaaaaaaaaaaaaaa 00000000 \
                    02000c0044006f006d00610069006e00 01000c00530065007200760065007200 00000000 00000000";
        assert_eq!(response.bytes[16..], hex(temp), "4.2.4.1.3 temp");
        assert_eq!(response.bytes[..16], hex("68cd0ab851e51c96aabc927bebef6a1c"), "4.2.4.2.2 NTProofStr");
        assert_eq!(response.session_key.as_slice(), hex("8de40ccadbc14a82f15cb0ad0de95ca3"), "4.2.4.1.2");
        let lm = hex("86c35097ac9cec102554764a57cccc19 aaaaaaaaaaaaaaaa");
        assert_eq!(lm_response(&key, SERVER, CLIENT).as_slice(), lm, "4.2.4.2.1 LMv2");
    }

    #[test]
    fn names_and_passwords_come_apart_in_three_ways() {
        for (pair, domain, user, password) in [
            ("CORP\\svc:pa:ss\\word", "CORP", "svc", "pa:ss\\word"),
            ("svc@corp.example:x", "", "svc@corp.example", "x"),
            ("svc:x", "", "svc", "x"),
            ("svc", "", "svc", ""),
        ] {
            let account = Account::parse(pair);
            assert_eq!((&*account.domain, &*account.user), (domain, user), "{pair}");
            assert_eq!(account.password.expose(), password, "{pair}");
        }
    }

    fn challenge(flags: u32, info: &[u8]) -> Vec<u8> {
        let length = u16::try_from(info.len()).unwrap().to_le_bytes();
        [
            SIGNATURE.as_slice(),
            &2_u32.to_le_bytes(),
            &[0; 8],
            &flags.to_le_bytes(),
            &SERVER,
            &[0; 8],
            &length,
            &length,
            &48_u32.to_le_bytes(),
            info,
        ]
        .concat()
    }

    #[test]
    fn an_integrity_code_is_sent_to_those_that_tell_the_time() {
        let with_time = [hex("0700 0800 0102030405060708").as_slice(), &target_info()].concat();
        for (info, coded) in [(target_info(), false), (with_time, true)] {
            let bytes = challenge(UNICODE | TARGET_INFO, &info);
            let server = ServerChallenge::read(&bytes).unwrap();
            let message = authenticate(&account(), &server, &bytes, "HTTP/p", CLIENT, SystemTime::UNIX_EPOCH);
            let message = message.expose();
            assert_eq!(message[72..88] != [0; 16], coded);
            assert_eq!(message[88..112] == [0; 24], coded, "no LMv2 beside it");
            let time = if coded {
                hex("0102030405060708")
            } else {
                file_time(SystemTime::UNIX_EPOCH).to_le_bytes().to_vec()
            };
            assert_eq!(message[112 + 24..112 + 32], time, "the proxy's time counts");
        }
        assert_eq!(file_time(SystemTime::UNIX_EPOCH), 116_444_736_000_000_000);
    }

    #[test]
    fn an_old_server_gets_bytes_instead_of_utf16() {
        let bytes = challenge(NTLM, &[]);
        let server = ServerChallenge::read(&bytes).unwrap();
        let message = authenticate(&account(), &server, &bytes, "HTTP/p", CLIENT, SystemTime::UNIX_EPOCH);
        assert!(message.expose().windows(10).any(|part| part == b"DomainUser"));
    }

    #[test]
    fn what_is_no_challenge_is_told() {
        let whole = challenge(UNICODE | TARGET_INFO, &target_info());
        assert!(ServerChallenge::read(&whole).is_ok());
        for cut in 0..whole.len() {
            let read = ServerChallenge::read(&whole[..cut]);
            assert!(
                if cut < 32 { read.is_err() } else { read.is_ok_and(|old| old.target_info.is_empty()) },
                "{cut}"
            );
        }
        assert!(ServerChallenge::read(&negotiate()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_challenge_makes_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let info = challenge(u32::MAX, &bytes);
            let server = ServerChallenge::read(&info).unwrap();
            authenticate(&account(), &server, &info, "HTTP/p", CLIENT, SystemTime::UNIX_EPOCH);
            let _ = ServerChallenge::read(&[SIGNATURE.as_slice(), &2_u32.to_le_bytes(), &bytes].concat());
        }
    }
}
