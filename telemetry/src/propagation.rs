//! The context of a trace in the headers of a request: W3C Trace Context, Level 1.
//!
//! What does not follow the grammar counts as absent, as the recommendation has it: the trace begins
//! anew, and the request goes its way.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Length of a `traceparent` of version 00, in bytes: version, trace id, parent id and flags.
const LENGTH: usize = 55;

/// Most bytes and members of a `tracestate` that goes on. The recommendation asks for 512 and 32; what
/// is longer is left out whole.
const STATE_BYTES: usize = 512;
const STATE_MEMBERS: usize = 32;

/// The context that came with a request, if one did.
pub(crate) fn extract(headers: &HeaderMap) -> Option<SpanContext> {
    let mut given = headers.get_all(TRACEPARENT).iter();
    let (first, second) = (given.next()?, given.next());
    if second.is_some() {
        return None;
    }
    let (trace, parent, flags) = parse(first.as_bytes())?;
    let state = state(headers).unwrap_or_default();
    Some(SpanContext::new(trace, parent, flags, true, state))
}

/// Puts a context into the headers of a request, in the place of the one that came with it.
pub(crate) fn inject(context: &SpanContext, headers: &mut HeaderMap) {
    let parent = format!(
        "00-{}-{}-{:02x}",
        context.trace_id(),
        context.span_id(),
        context.trace_flags() & TraceFlags::SAMPLED
    );
    headers.remove(TRACESTATE);
    // Hexadecimal digits and dashes are a good header.
    if let Ok(parent) = HeaderValue::from_str(&parent) {
        headers.insert(TRACEPARENT, parent);
    }
    let state = context.trace_state().header();
    if let Ok(state) = HeaderValue::from_str(&state)
        && !state.is_empty()
    {
        headers.insert(TRACESTATE, state);
    }
}

/// Trace id, parent id and flags. Of later versions, what this version has is read.
fn parse(text: &[u8]) -> Option<(TraceId, SpanId, TraceFlags)> {
    let (known, rest) = text.split_at_checked(LENGTH)?;
    let [version, trace, parent, flags] = fields(known)?;
    let [version] = hexadecimal::<1>(version)?;
    let more = match version {
        0 => !rest.is_empty(),
        0xff => true,
        _ => rest.first().is_some_and(|byte| *byte != b'-'),
    };
    if more {
        return None;
    }
    let trace = TraceId::from_bytes(hexadecimal(trace)?);
    let parent = SpanId::from_bytes(hexadecimal(parent)?);
    let [flags] = hexadecimal::<1>(flags)?;
    if trace == TraceId::INVALID || parent == SpanId::INVALID {
        return None;
    }
    // The others mean nothing in this version, and go no further.
    let flags = TraceFlags::new(flags) & TraceFlags::SAMPLED;
    Some((trace, parent, flags))
}

fn fields(text: &[u8]) -> Option<[&[u8]; 4]> {
    let mut fields = text.split(|byte| *byte == b'-');
    let found = [
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    ];
    fields.next().is_none().then_some(found)
}

/// Exactly so many bytes in lower-case hexadecimal.
fn hexadecimal<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, odd) = text.as_chunks::<2>();
    if pairs.len() != N || !odd.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// The members of all `tracestate` headers. `None` if there are too many, or one is none.
fn state(headers: &HeaderMap) -> Option<TraceState> {
    let mut members = Vec::new();
    let mut bytes = 0;
    for value in headers.get_all(TRACESTATE) {
        let value = value.to_str().ok()?;
        bytes += value.len() + 1;
        if bytes > STATE_BYTES + 1 {
            return None;
        }
        for member in value
            .split(',')
            .map(|member| member.trim_matches([' ', '\t']))
        {
            if !member.is_empty() {
                members.push(member.split_once('=')?);
            }
        }
    }
    let mut keys: Vec<_> = members.iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    let twice = keys.windows(2).any(|pair| pair[0] == pair[1]);
    if members.len() > STATE_MEMBERS || twice || members.iter().any(|(key, _)| key.is_empty()) {
        return None;
    }
    TraceState::from_key_value(members).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn extracted(parent: &str) -> Option<String> {
        extract(&headers(&[("traceparent", parent)])).map(|context| {
            let mut headers = HeaderMap::new();
            inject(&context, &mut headers);
            headers[TRACEPARENT].to_str().unwrap().to_owned()
        })
    }

    #[test]
    fn a_context_is_read_and_written_as_the_recommendation_says() {
        let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let plain = format!("00-{trace}-{parent}-00");
        for (given, expected) in [
            (PARENT.to_owned(), Some(PARENT)),
            (plain.clone(), Some(plain.as_str())),
            // Only the flag that has a meaning goes on.
            (format!("00-{trace}-{parent}-ff"), Some(PARENT)),
            // A version of the future: what is known of it is read.
            (format!("cc-{trace}-{parent}-01"), Some(PARENT)),
            (format!("cc-{trace}-{parent}-01-what-ever"), Some(PARENT)),
            (format!("cc-{trace}-{parent}-01."), None),
            (format!("ff-{trace}-{parent}-01"), None),
            (format!("00-{trace}-{parent}-01-more"), None),
            (format!("00-{trace}-{parent}-01-"), None),
            (format!("00-{trace}-{parent}"), None),
            (format!("00-{trace}-{parent}-1"), None),
            (format!("00-{}-{parent}-01", "0".repeat(32)), None),
            (format!("00-{trace}-{}-01", "0".repeat(16)), None),
            (format!("00-{}-{parent}-01", trace.to_uppercase()), None),
            (format!("00-{trace}-{parent}-0A"), None),
            (format!("+0-{trace}-{parent}-01"), None),
            (format!("00-{}-{parent}0-01", &trace[1..]), None),
            (format!("00.{trace}.{parent}.01"), None),
            (String::new(), None),
        ] {
            assert_eq!(extracted(&given).as_deref(), expected, "{given}");
        }
    }

    #[test]
    fn two_parents_are_none() {
        let pairs = [("traceparent", PARENT), ("traceparent", PARENT)];
        assert!(extract(&headers(&pairs)).is_none());
    }

    #[test]
    fn a_state_goes_on_if_it_is_good_and_short() {
        let long = format!("a={}", "x".repeat(255));
        let many: Vec<_> = (0..33).map(|number| format!("k{number}=1")).collect();
        for (states, expected) in [
            (vec!["congo=t61, rojo=00f0"], "congo=t61,rojo=00f0"),
            (vec!["congo=t61", "rojo=00f0,,"], "congo=t61,rojo=00f0"),
            (vec!["a@b=x"], "a@b=x"),
            (vec!["a@b=x=y"], ""),
            (vec!["a=1", "a=2"], ""),
            (vec!["UPPER=1"], ""),
            (vec!["=1"], ""),
            (vec!["nothing"], ""),
            (vec![&long, "b=1", &long.replace('a', "c")], ""),
            (vec![&many.join(",")], ""),
            (vec![&many[..32].join(",")], &many[..32].join(",")),
        ] {
            let mut given = headers(&[("traceparent", PARENT)]);
            for state in &states {
                given.append(TRACESTATE, state.parse().unwrap());
            }
            let context = extract(&given).unwrap();
            assert_eq!(context.trace_state().header(), expected, "{states:?}");
            inject(&context, &mut given);
            let written = given
                .get(TRACESTATE)
                .map_or("", |value| value.to_str().unwrap());
            assert_eq!(written, expected);
            assert!(given.get_all(TRACESTATE).iter().count() <= 1);
        }
    }

    proptest! {
        #[test]
        fn no_header_panics_and_what_goes_on_is_bounded(parent: Vec<u8>, states: Vec<Vec<u8>>) {
            let mut given = HeaderMap::new();
            for (name, bytes) in std::iter::once((TRACEPARENT, &parent))
                .chain(states.iter().map(|state| (TRACESTATE, state)))
            {
                if let Ok(value) = HeaderValue::from_bytes(bytes) {
                    given.append(name, value);
                }
            }
            if let Some(context) = extract(&given) {
                prop_assert!(context.is_valid() && context.is_remote());
            }
            if let Some(state) = state(&given) {
                prop_assert!(state.header().len() <= STATE_BYTES);
            }
        }

        #[test]
        fn what_is_written_is_read_again(trace in 1u128.., parent in 1u64.., sampled: bool) {
            let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
            let state = TraceState::from_key_value([("a", "1")]).unwrap();
            let context = SpanContext::new(trace.into(), parent.into(), flags, true, state);
            let mut written = HeaderMap::new();
            inject(&context, &mut written);
            prop_assert_eq!(extract(&written), Some(context));
        }
    }
}
