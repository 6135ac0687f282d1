//! ID tokens: JSON Web Tokens (RFC 7519) that a provider has signed. `jsonwebtoken` reads them and checks
//! signatures, with aws-lc-rs; which keys sign in which ways, and what OpenID Connect wants of the claims, is here.

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;

/// How far a provider's clock may be ahead or behind.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// The longest ID token, in bytes, and the most keys of a provider.
const MAX_TOKEN: usize = 64 * 1024;
const MAX_KEYS: usize = 100;

/// The keys of a provider (RFC 7517). Those that are not understood, or share a secret, are left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "Set")]
pub(super) struct Keys(Vec<Key>);

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    /// In which ways it signs.
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// Whose token it must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client: &'a str,
    /// That of the login; a refresh has none.
    pub(super) nonce: Option<&'a str>,
    pub(super) now: Timestamp,
}

/// A token is not good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Bad {
    /// It cannot be read, or is signed in a way that nobody knows.
    #[error("it is no signed token: {0}")]
    Form(String),
    /// No key fits: the provider may have another by now.
    #[error("no key of the provider fits")]
    Key,
    /// The key that fits has not signed it.
    #[error("the signature is wrong")]
    Signature,
    /// A claim is not as it must be.
    #[error("claim {0} is not as it must be")]
    Claim(String),
}

impl From<Set> for Keys {
    fn from(set: Set) -> Self {
        let keys = set.keys.into_iter().take(MAX_KEYS);
        let keys = keys.filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        Self(keys.filter_map(|key| Key::new(&key)).collect())
    }
}

impl Key {
    fn new(jwk: &Jwk) -> Option<Self> {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        let of_type = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => vec![RS256, RS384, RS512, PS256, PS384, PS512],
            AlgorithmParameters::EllipticCurve(key) => match key.curve {
                EllipticCurve::P256 => vec![ES256],
                EllipticCurve::P384 => vec![ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                vec![EdDSA]
            }
            _ => return None,
        };
        let only = jwk.common.key_algorithm;
        let fits = |one: &Algorithm| only.is_none_or(|only| only == (*one).into());
        let algorithms: Vec<_> = of_type.into_iter().filter(fits).collect();
        let signs = jwk.common.public_key_use != Some(PublicKeyUse::Encryption);
        (signs && !algorithms.is_empty()).then_some(())?;
        Some(Self {
            id: jwk.common.key_id.clone(),
            algorithms,
            key: DecodingKey::from_jwk(jwk).ok()?,
        })
    }
}

/// The claims of a token, if it is good.
///
/// # Errors
/// With what is wrong with it.
pub(super) fn verify(
    token: &str,
    keys: &Keys,
    expected: Expected<'_>,
) -> Result<Map<String, Value>, Bad> {
    if token.len() > MAX_TOKEN {
        return Err(Bad::Form("it is too long".to_owned()));
    }
    let header = decode_header(token).map_err(bad)?;
    if header.crit.is_some() {
        return Err(Bad::Form("it has extensions".to_owned()));
    }
    let fitting = keys.0.iter().filter(|key| {
        key.algorithms.contains(&header.alg) && (header.kid.is_none() || key.id == header.kid)
    });
    let mut verified = Err(Bad::Key);
    for key in fitting {
        verified = decode(token, &key.key, &validation(header.alg, expected))
            .map(|token| token.claims)
            .map_err(bad);
        // Without the name of a key it may be that of the next.
        if verified != Err(Bad::Signature) {
            break;
        }
    }
    let claims = verified?;
    check(&claims, expected)?;
    Ok(claims)
}

/// What does not depend on the time, which is an argument here.
fn validation(algorithm: Algorithm, expected: Expected<'_>) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
    validation.set_issuer(&[expected.issuer]);
    validation.set_audience(&[expected.client]);
    validation.validate_exp = false;
    validation
}

fn bad(error: Error) -> Bad {
    match error.into_kind() {
        ErrorKind::InvalidSignature => Bad::Signature,
        ErrorKind::InvalidIssuer => Bad::Claim("iss".to_owned()),
        ErrorKind::InvalidAudience => Bad::Claim("aud".to_owned()),
        ErrorKind::MissingRequiredClaim(name) | ErrorKind::InvalidClaimFormat(name) => {
            Bad::Claim(name)
        }
        other => Bad::Form(Error::from(other).to_string()),
    }
}

/// What OpenID Connect Core, section 3.1.3.7, wants besides.
fn check(claims: &Map<String, Value>, expected: Expected<'_>) -> Result<(), Bad> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let bad = |name: &str| Err(Bad::Claim(name.to_owned()));
    // One issuer, not one of several.
    if text("iss") != Some(expected.issuer) {
        return bad("iss");
    }
    let several = claims.get("aud").and_then(Value::as_array);
    let several = several.is_some_and(|audience| audience.len() > 1);
    let party = claims.get("azp");
    if (several || party.is_some()) && text("azp") != Some(expected.client) {
        return bad("azp");
    }
    let (now, late) = (expected.now, expected.now + SKEW);
    let time = |name: &str| claims.get(name).and_then(seconds);
    if time("exp").is_none_or(|end| end <= now - SKEW) {
        return bad("exp");
    }
    if time("iat").is_none_or(|issued| issued > late) {
        return bad("iat");
    }
    if claims.contains_key("nbf") && time("nbf").is_none_or(|begin| begin > late) {
        return bad("nbf");
    }
    if text("sub").is_none_or(|subject| subject.is_empty() || subject.len() > 255) {
        return bad("sub");
    }
    let same = |nonce: &str| {
        let shown = text("nonce").unwrap_or_default();
        bool::from(shown.as_bytes().ct_eq(nonce.as_bytes()))
    };
    match expected.nonce {
        Some(nonce) if nonce.is_empty() || !same(nonce) => bad("nonce"),
        _ => Ok(()),
    }
}

/// A NumericDate of RFC 7519: seconds, maybe with fractions.
fn seconds(value: &Value) -> Option<Timestamp> {
    let whole = value.as_i64().map(SignedDuration::from_secs);
    let duration = whole.or_else(|| SignedDuration::try_from_secs_f64(value.as_f64()?).ok())?;
    Timestamp::from_duration(duration).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    };
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use serde_json::json;

    const NOW: i64 = 1_800_000_000;

    fn encoded(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    fn claims() -> Value {
        json!({"iss": "https://id.test", "aud": "lariat", "sub": "ann", "nonce": "n",
            "iat": NOW - 5, "exp": NOW + 300})
    }

    fn expected() -> Expected<'static> {
        Expected {
            issuer: "https://id.test",
            client: "lariat",
            nonce: Some("n"),
            now: Timestamp::from_second(NOW).unwrap(),
        }
    }

    /// A provider with one key.
    struct Provider(EcdsaKeyPair);

    impl Provider {
        fn new() -> Self {
            let made = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
            Self(made.unwrap())
        }

        fn keys(&self, kid: &str) -> Keys {
            let point = self.0.public_key().as_ref();
            let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
            serde_json::from_value(json!({"keys": [
                {"kty": "oct", "kid": kid, "k": "c2VjcmV0"},
                {"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256",
                    "x": part(1..33), "y": part(33..65)},
            ]}))
            .unwrap()
        }

        fn sign(&self, header: &Value, claims: &Value) -> String {
            let signed = format!("{}.{}", encoded(header), encoded(claims));
            let random = SystemRandom::new();
            let signature = self.0.sign(&random, signed.as_bytes()).unwrap();
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
        }
    }

    fn header() -> Value {
        json!({"alg": "ES256", "kid": "k", "typ": "JWT"})
    }

    #[test]
    fn a_token_is_good_for_its_client_its_login_and_its_time() {
        let provider = Provider::new();
        let keys = provider.keys("k");
        let with = |field: &str, value: Value| {
            let mut changed = claims();
            changed[field] = value;
            verify(&provider.sign(&header(), &changed), &keys, expected()).map(drop)
        };
        assert_eq!(with("name", json!("Ann")), Ok(()));
        assert_eq!(with("aud", json!(["lariat"])), Ok(()));
        assert_eq!(with("exp", json!(NOW - 30)), Ok(()), "clocks differ");
        assert_eq!(with("iat", json!(NOW + 30)), Ok(()), "clocks differ");
        for (field, value) in [
            ("iss", json!("https://evil.test")),
            ("iss", json!("https://id.test/")),
            ("aud", json!("other")),
            ("aud", json!([])),
            ("iss", json!(["https://id.test"])),
            ("aud", json!(null)),
            ("azp", json!("other")),
            ("exp", json!(NOW - 61)),
            ("exp", json!(null)),
            ("exp", json!("tomorrow")),
            ("iat", json!(NOW + 61)),
            ("nbf", json!(NOW + 61)),
            ("sub", json!("")),
            ("sub", json!(7)),
            ("nonce", json!("other")),
            ("nonce", json!(null)),
        ] {
            assert!(
                matches!(with(field, value.clone()), Err(Bad::Claim(_))),
                "{field}: {value}"
            );
        }
        let several = with("aud", json!(["lariat", "other"]));
        assert_eq!(several, Err(Bad::Claim("azp".to_owned())));
        let refresh = Expected {
            nonce: None,
            ..expected()
        };
        let token = provider.sign(&header(), &claims());
        assert!(verify(&token, &keys, refresh).is_ok());
        let empty = Expected {
            nonce: Some(""),
            ..expected()
        };
        assert_eq!(
            verify(&token, &keys, empty),
            Err(Bad::Claim("nonce".to_owned()))
        );
    }

    #[test]
    fn only_the_provider_signs_and_only_in_ways_that_are_taken() {
        let provider = Provider::new();
        let keys = provider.keys("k");
        let good = provider.sign(&header(), &claims());
        assert!(verify(&good, &keys, expected()).is_ok());
        let bad = |token: &str| verify(token, &keys, expected()).unwrap_err();
        assert_eq!(
            bad(&Provider::new().sign(&header(), &claims())),
            Bad::Signature
        );
        for alg in ["none", "None", "ES512", "", "HS256"] {
            let token = provider.sign(&json!({"alg": alg, "kid": "k"}), &claims());
            let refused = bad(&token);
            assert!(
                matches!(refused, Bad::Form(_) | Bad::Key),
                "{alg}: {refused}"
            );
        }
        // A secret that is among the keys is no key, even where the signature fits.
        let named = jsonwebtoken::Header {
            kid: Some("k".to_owned()),
            ..jsonwebtoken::Header::new(Algorithm::HS256)
        };
        let secret = jsonwebtoken::EncodingKey::from_secret(b"secret");
        let shared = jsonwebtoken::encode(&named, &claims(), &secret).unwrap();
        assert_eq!(bad(&shared), Bad::Key);
        let other_key = json!({"alg": "ES256", "kid": "another"});
        assert_eq!(bad(&provider.sign(&other_key, &claims())), Bad::Key);
        // Another algorithm than that of the key.
        let other = json!({"alg": "RS256", "kid": "k"});
        assert_eq!(bad(&provider.sign(&other, &claims())), Bad::Key);
        let extended = json!({"alg": "ES256", "kid": "k", "crit": ["exp"], "exp": 1});
        assert!(matches!(
            bad(&provider.sign(&extended, &claims())),
            Bad::Form(_)
        ));
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let header_part = signed.split('.').next().unwrap();
        let mut forged = claims();
        forged["sub"] = json!("root");
        let forged = format!("{header_part}.{}.{signature}", encoded(&forged));
        assert_eq!(bad(&forged), Bad::Signature);
        assert_eq!(bad(&format!("{signed}.")), Bad::Signature);
        for broken in [
            "",
            "a",
            "a.b",
            "a.b.c",
            &format!("{good}.x"),
            &"a".repeat(MAX_TOKEN + 1),
        ] {
            assert!(matches!(bad(broken), Bad::Form(_)), "{broken:.20}");
        }
        // Without the name of a key each that fits is tried.
        let nameless = provider.sign(&json!({"alg": "ES256"}), &claims());
        assert!(verify(&nameless, &keys, expected()).is_ok());
    }

    #[test]
    fn edwards_curves_are_taken_too() {
        let pair = Ed25519KeyPair::generate().unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]});
        let keys: Keys = serde_json::from_value(keys).unwrap();
        let signed = format!(
            "{}.{}",
            encoded(&json!({"alg": "EdDSA"})),
            encoded(&claims())
        );
        let signature = URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes()));
        assert!(verify(&format!("{signed}.{signature}"), &keys, expected()).is_ok());
    }

    proptest! {
        #[test]
        fn no_token_panics(token in "[a-zA-Z0-9_.=-]{0,80}") {
            let _ = verify(&token, &Keys::default(), expected());
        }

        #[test]
        fn no_claims_panic(claims in proptest::collection::vec(("iss|aud|exp|iat|sub|nonce", -1e300f64..1e300), 0..6)) {
            let claims = claims.into_iter().map(|(name, value)| (name, json!(value)));
            let _ = check(&claims.collect(), expected());
        }
    }
}
