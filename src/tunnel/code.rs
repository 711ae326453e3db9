//! Why a stream or a session ended: numbers on the wire, words for people.

macro_rules! wire_codes {
    ($(#[$doc:meta])* $type:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $type {
            $($(#[$vdoc])* $variant,)*
            /// A code of a newer version.
            Other(u16),
        }

        impl $type {
            /// The number on the wire.
            pub fn number(self) -> u16 {
                match self { $(Self::$variant => $number,)* Self::Other(number) => number }
            }
            /// From the number on the wire.
            pub fn from_number(number: u16) -> Self {
                match number { $($number => Self::$variant,)* other => Self::Other(other) }
            }
            /// In words.
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* Self::Other(_) => "a reason this version does not know" }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.text())
            }
        }
    };
}

wire_codes! {
    /// Why a stream was reset.
    ResetCode {
        /// The side that opened it no longer wants it.
        Cancel = 1, "cancelled";
        /// Refused before anything was done with it: it may be sent again.
        Refused = 2, "refused before it was looked at";
        /// The peer broke a rule of the stream.
        Protocol = 3, "a protocol fault";
        /// Something inside failed.
        Internal = 4, "an internal fault";
        /// A time ran out.
        Timeout = 5, "a time ran out";
        /// The upstream broke off in the middle of its answer.
        Upstream = 6, "the upstream broke off";
        /// A body ran over its limit.
        TooLarge = 7, "a body over its limit";
        /// This side does not take streams of that kind.
        Unsupported = 8, "a kind of stream this side does not take";
        /// What this end lets a peer use of something is used up.
        Quota = 9, "a quota is used up";
        /// It was allowed when it began, and is no longer.
        Denied = 10, "no longer allowed";
    }
}

wire_codes! {
    /// Why a tunnel was closed. Sent as 4000 + number in the WebSocket's close frame.
    CloseCode {
        /// All is well; the sender stops.
        Stopping = 0, "the other side is stopping";
        /// The peer broke the protocol.
        Protocol = 1, "a protocol fault";
        /// Nothing came for too long.
        Silent = 2, "silence on the line";
        /// A newer connect of the same agent took this slot.
        Replaced = 3, "a newer connection of this agent took its place";
        /// An operator revoked the agent.
        Revoked = 4, "the operator revoked this agent";
        /// An operator asked for a new connect.
        Drained = 5, "drained";
        /// The peer sent frames faster than allowed.
        Flood = 6, "too many control frames";
        /// The socket broke.
        Broken = 7, "the connection broke";
        /// No common version of the protocol.
        Version = 8, "no common protocol version";
        /// The handshake was refused.
        Refused = 9, "the handshake was refused";
        /// Something inside failed.
        Internal = 10, "an internal fault";
    }
}

wire_codes! {
    /// Why a session is being drained.
    DrainCode {
        /// The program stops.
        Stopping = 0, "the other side is stopping";
        /// An operator asked for it.
        Operator = 1, "the operator asked for it";
        /// A new configuration needs a new connect.
        Reload = 2, "a new configuration";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_reads_back() {
        for number in 0..=u16::from(u8::MAX) {
            assert_eq!(ResetCode::from_number(number).number(), number);
            assert_eq!(CloseCode::from_number(number).number(), number);
            assert_eq!(DrainCode::from_number(number).number(), number);
        }
    }
}
