//! Access tokens as LiveKit's server SDKs make them: a JWT signed with the API key's secret.
//!
//! Source: LiveKit documentation, "Authentication"; RFC 7515, RFC 7518 §3.2.

use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use serde_json::json;

const GOOD_FOR_S: u64 = 6 * 3600;

pub struct Key {
    pub name: String,
    pub secret: String,
}

/// A token for `identity` to join `room`, good for six hours. `subscribes`: whether it may be sent
/// what others publish.
pub fn join(key: &Key, identity: &str, room: &str, subscribes: bool, now: SystemTime) -> String {
    let now_s = now.duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let claims = json!({
        "iss": key.name,
        "sub": identity,
        "name": identity,
        "nbf": now_s,
        "exp": now_s + GOOD_FOR_S,
        "video": {"roomJoin": true, "room": room, "canSubscribe": subscribes},
    });
    let part = |value: &serde_json::Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let secret = hmac::Key::new(hmac::HMAC_SHA256, key.secret.as_bytes());
    let signature = hmac::sign(&secret, signed.as_bytes());
    format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_who_may_join_what_and_its_signature_holds() {
        let key = Key {
            name: "devkey".into(),
            secret: "secret".into(),
        };

        let token = join(&key, "ada", "standup", false, UNIX_EPOCH);

        let (signed, signature) = token.rsplit_once('.').unwrap();
        let decoded = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
        let secret = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
        hmac::verify(&secret, signed.as_bytes(), &decoded(signature)).unwrap();
        let claims = decoded(signed.split_once('.').unwrap().1);
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["sub"], "ada");
        assert_eq!(claims["exp"], GOOD_FOR_S);
        assert_eq!(claims["video"]["room"], "standup");
        assert_eq!(claims["video"]["canSubscribe"], false);
    }
}
