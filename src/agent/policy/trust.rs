//! What is proved about a call, and what a rule asks to be proved.
//!
//! A bearer key is shown to whoever ends the caller's TLS. So a call that comes that way is the caller's only if the
//! relay is honest; a rule that lets somebody act as a person needs more, unless it says that it trusts the relay.

use std::fmt;
use std::str::FromStr;

/// What is proved about one call, beside that it brought a caller's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Trust {
    /// How far the caller's TLS reached.
    pub channel: Channel,
    /// The caller signed the request (RFC 9421).
    pub is_signed: bool,
    /// A token of a trusted issuer names the person the call is made for.
    pub proves_person: bool,
    /// The caller's key was once sent through the relay, which could have kept it: the channel then proves nothing, since the
    /// relay can be at its other end.
    pub key_is_exposed: bool,
}

/// Where the caller's TLS ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Channel {
    /// At the relay.
    #[default]
    Relay,
    /// At the agent, under a name of the operator's: holds as long as the relay is honest.
    OperatorName,
    /// At the agent, under a name of the customer's: holds against the relay too.
    CustomerName,
}

/// One proof that a rule may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Demand {
    /// `signed`.
    Signed,
    /// `pass-through`: TLS ends at the agent, under the customer's name.
    PassThrough,
    /// `pass-through-operator-name`: TLS ends at the agent, under the operator's name or the customer's.
    PassThroughOperatorName,
}

/// A word that is no demand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” can't be required: write signed, pass-through or pass-through-operator-name")]
pub struct DemandFault(String);

/// What a rule asks for and the call does not prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// None of what `require` names.
    Required(Vec<Demand>),
    /// The rule makes calls as a person, and only the relay vouches for who calls.
    Person,
    /// The call changes what only administrators change, and the rule does not say what that takes.
    Guarded(&'static str),
    /// This, which the channel would prove, were the caller's key not one that was sent through the relay.
    Exposed(Box<Self>),
}

impl Trust {
    /// Whether this proof is given.
    pub fn meets(self, demand: Demand) -> bool {
        match demand {
            Demand::Signed => self.is_signed,
            Demand::PassThrough => self.proved_channel() >= Channel::CustomerName,
            Demand::PassThroughOperatorName => self.proved_channel() >= Channel::OperatorName,
        }
    }

    /// Whether it does not because of the key, though the way would do.
    pub fn fails_by_exposure(self) -> bool {
        let unexposed = Self { key_is_exposed: false, ..self };
        !self.holds_against_the_relay() && unexposed.holds_against_the_relay()
    }

    fn proved_channel(self) -> Channel {
        if self.key_is_exposed { Channel::Relay } else { self.channel }
    }

    /// Whether the call may be somebody's without trust in the relay.
    pub fn holds_against_the_relay(self) -> bool {
        self.is_signed || self.proves_person || self.proved_channel() >= Channel::CustomerName
    }
}

impl Demand {
    /// As in `require`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::PassThrough => "pass-through",
            Self::PassThroughOperatorName => "pass-through-operator-name",
        }
    }
}

impl FromStr for Demand {
    type Err = DemandFault;
    fn from_str(text: &str) -> Result<Self, DemandFault> {
        [Self::Signed, Self::PassThrough, Self::PassThroughOperatorName]
            .into_iter()
            .find(|demand| demand.as_str() == text)
            .ok_or_else(|| DemandFault(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Required(demands) => {
                let names: Vec<&str> = demands.iter().map(|demand| demand.as_str()).collect();
                write!(formatter, "it requires {}", names.join(" or "))
            }
            Self::Person => formatter.write_str(
                "it makes calls as a person, which takes a signed call, pass-through under the site's own name, \
                 or a token for that person; `accept-relay-trust = true` would do without",
            ),
            Self::Guarded(what) => write!(
                formatter,
                "this call is about {what}, which takes a signed call or pass-through under the site's own name, \
                 unless the rule says otherwise by `require` or `accept-relay-trust = true`"
            ),
            Self::Exposed(lack) => write!(
                formatter,
                "{lack}; {EXPOSED}"
            ),
        }
    }
}

/// Why pass-through is not enough.
pub const EXPOSED: &str = "pass-through does not count with this key, which was once sent through the relay: the relay could have kept it";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stronger_channel_meets_what_a_weaker_one_does() {
        let over = |channel| Trust { channel, ..Trust::default() };
        for (trust, met) in [
            (Trust::default(), [false, false, false]),
            (over(Channel::OperatorName), [false, false, true]),
            (over(Channel::CustomerName), [false, true, true]),
            (Trust { key_is_exposed: true, ..over(Channel::OperatorName) }, [false, false, false]),
            (Trust { key_is_exposed: true, ..over(Channel::CustomerName) }, [false, false, false]),
            (Trust { is_signed: true, ..Trust::default() }, [true, false, false]),
            (Trust { proves_person: true, ..Trust::default() }, [false, false, false]),
        ] {
            let demands = [Demand::Signed, Demand::PassThrough, Demand::PassThroughOperatorName];
            assert_eq!(demands.map(|demand| trust.meets(demand)), met, "{trust:?}");
        }
        assert!(!over(Channel::OperatorName).holds_against_the_relay());
        assert!(over(Channel::CustomerName).holds_against_the_relay());
        assert!(!Trust { key_is_exposed: true, ..over(Channel::CustomerName) }.holds_against_the_relay());
        assert!(Trust { proves_person: true, ..Trust::default() }.holds_against_the_relay());
    }

    #[test]
    fn demands_read_as_they_show() {
        for demand in [Demand::Signed, Demand::PassThrough, Demand::PassThroughOperatorName] {
            assert_eq!(demand.as_str().parse(), Ok(demand));
        }
        assert!("mtls".parse::<Demand>().unwrap_err().to_string().contains("write signed"));
    }
}
