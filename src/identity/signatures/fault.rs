//! What is wrong with a signed call, in words for whoever writes the signing program.

/// Why a signature, or a digest, is not taken. Holds nothing of the request but names of fields.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// A field that must be there once.
    #[error("the field {0} must be there once")]
    NotOnce(String),
    /// A field longer than is read.
    #[error("the field {0} is too long")]
    TooLong(&'static str),
    /// A field that is no structured field of its kind.
    #[error("the field {0} can't be read as a structured field (RFC 9651)")]
    Unreadable(&'static str),
    /// The same label or algorithm twice.
    #[error("the field {0} says the same name twice")]
    Twice(&'static str),
    /// No signature, or several, with our tag.
    #[error("of the signatures, exactly one must have the tag \"outhaul\"; here are {0}")]
    Count(usize),
    /// No value under the label.
    #[error("the field Signature has no 64 bytes under the label of Signature-Input")]
    NoSignature,
    /// A parameter that is missing or not of its form.
    #[error("the signature's parameter {0}")]
    Parameter(&'static str),
    /// A parameter of another profile.
    #[error("the signature has a parameter that is not of the profile")]
    OtherParameter,
    /// A covered component of another profile.
    #[error("the component {0} can't be covered here")]
    Component(String),
    /// The same component twice.
    #[error("the component {0} is covered twice")]
    ComponentTwice(String),
    /// More than are read.
    #[error("too many components are covered")]
    Components,
    /// A component that must be covered.
    #[error("the signature must cover {0}")]
    NotCovered(String),
    /// A covered field holds bytes that no signature base can.
    #[error("the field {0} holds bytes outside visible ASCII")]
    Bytes(String),
    /// Host or target that can't be signed.
    #[error("the request's {0} can't be signed as it is written")]
    Target(&'static str),
    /// The call is for another agent.
    #[error("the field Outhaul-Agent names another agent: the call is not meant for this one")]
    OtherAgent,
    /// A digest that is missing or of another algorithm.
    #[error("Content-Digest must hold sha-256 or sha-512 or both, and nothing else (RFC 9530)")]
    Digest,
    /// The key did not make it.
    #[error(
        "the signature is not of this key over this request: something was changed on the way, or it was signed in \
         another form"
    )]
    Wrong,
}
