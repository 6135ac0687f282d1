//! How the quota of a project is split among its namespaces.
//!
//! Each namespace asks for what its annotation says, or for the project's default. Nobody gets more than the
//! project has left, and nobody loses what they have because another asks for more: what does not fit is
//! refused, and the namespace keeps what it had, which is nothing if it is new.

use std::collections::BTreeMap;

use lariat_api::{Amount, ResourceQuotaLimit};

/// The most of each resource, by the names that Kubernetes has for them.
pub(super) type Most = BTreeMap<String, Amount>;

/// A namespace that takes part.
#[derive(Clone, Debug)]
pub(super) struct Claim<'a> {
    /// Seconds since 1970, so that older ones come first.
    pub(super) made: i64,
    pub(super) namespace: &'a str,
    /// What its annotation says, `{"limit": {…}}`. Empty: nothing.
    pub(super) annotation: &'a str,
    /// What it has been given before.
    pub(super) has: Option<&'a Most>,
}

/// What a namespace gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Allotment {
    pub(super) most: Most,
    /// Why it does not get what it asks for.
    pub(super) refused: Option<String>,
}

/// Amounts of a limit. What is no quantity is left out: schemas and [`asked`] refuse it.
pub(super) fn amounts(limit: &ResourceQuotaLimit) -> Most {
    let named = limit.named().into_iter();
    let read = named.filter_map(|(name, most)| Some((name.to_owned(), most.0.parse().ok()?)));
    read.collect()
}

/// Splits the quota of a project.
pub(super) fn split(
    limit: &Most,
    each: &Most,
    claims: &[Claim<'_>],
) -> BTreeMap<String, Allotment> {
    let nothing = Most::new();
    let of = |most: &Most, name: &String| most.get(name).copied().unwrap_or_default();
    let mut order: Vec<_> = claims
        .iter()
        .map(|claim| {
            let has = claim.has.unwrap_or(&nothing);
            let (wanted, unclear) = match asked(claim.annotation, each) {
                Ok(wanted) => (wanted, None),
                Err(why) => (each.clone(), Some(why)),
            };
            (claim, has, wanted, unclear)
        })
        .collect();
    // What some give back others can have.
    order.sort_by_key(|(claim, has, wanted, _)| {
        let grows = limit.keys().any(|name| of(wanted, name) > of(has, name));
        (grows, claim.made, claim.namespace)
    });
    let mut left = limit.clone();
    for (_, has, _, _) in &order {
        for (name, left) in &mut left {
            *left = left.minus(of(has, name));
        }
    }
    let mut split = BTreeMap::new();
    for (claim, has, wanted, mut refused) in order {
        let too_much = limit.keys().find(|name| {
            let free = of(&left, name).plus(of(has, name));
            of(&wanted, name) > free
        });
        if let Some(name) = too_much {
            let free = of(&left, name).plus(of(has, name));
            let (asks, whole) = (of(&wanted, name), of(limit, name));
            refused = Some(format!(
                "it asks for {asks} of {name}, and of the {whole} of the project {free} are left"
            ));
        }
        let given = if too_much.is_none() { &wanted } else { has };
        // A resource that the project limits is limited in each of its namespaces.
        let most: Most = (limit.keys())
            .map(|name| (name.clone(), of(given, name)))
            .collect();
        for (name, left) in &mut left {
            *left = left.plus(of(has, name)).minus(of(&most, name));
        }
        split.insert(claim.namespace.to_owned(), Allotment { most, refused });
    }
    split
}

/// All that has been given.
pub(super) fn used(split: &BTreeMap<String, Allotment>) -> Most {
    let mut used = Most::new();
    for allotment in split.values() {
        for (name, most) in &allotment.most {
            let sum = used.entry(name.clone()).or_default();
            *sum = sum.plus(*most);
        }
    }
    used
}

/// What a namespace asks for: what its annotation says, and of what that does not say, the default.
fn asked(annotation: &str, each: &Most) -> Result<Most, String> {
    #[derive(serde::Deserialize)]
    struct Written {
        limit: ResourceQuotaLimit,
    }
    let mut asked = each.clone();
    if annotation.is_empty() {
        return Ok(asked);
    }
    let unclear = |why: &dyn std::fmt::Display| {
        format!(
            "the annotation field.cattle.io/resourceQuota cannot be read, so the default of the project counts: {why}"
        )
    };
    let written: Written = serde_json::from_str(annotation).map_err(|error| unclear(&error))?;
    for (name, most) in written.limit.named() {
        let most = most.0.parse().map_err(|error| {
            let why = format!("{name} {:?} {error}", most.0);
            unclear(&why)
        })?;
        asked.insert(name.to_owned(), most);
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn most(pods: &str) -> Most {
        [("pods".to_owned(), pods.parse().unwrap())].into()
    }

    fn claim<'a>(
        made: i64,
        namespace: &'a str,
        pods: &str,
        has: Option<&'a Most>,
    ) -> (Claim<'a>, String) {
        let annotation = match pods {
            "" => String::new(),
            pods => format!(r#"{{"limit": {{"pods": "{pods}"}}}}"#),
        };
        let claim = Claim {
            made,
            namespace,
            annotation: "",
            has,
        };
        (claim, annotation)
    }

    fn given(claims: &[(Claim<'_>, String)], limit: &str) -> Vec<(String, String, bool)> {
        let claims: Vec<_> = claims
            .iter()
            .map(|(claim, annotation)| Claim {
                annotation,
                ..claim.clone()
            })
            .collect();
        let split = split(&most(limit), &most("4"), &claims);
        let given = split.into_iter();
        given
            .map(|(name, one)| (name, one.most["pods"].to_string(), one.refused.is_some()))
            .collect()
    }

    fn line(namespace: &str, pods: &str, refused: bool) -> (String, String, bool) {
        (namespace.to_owned(), pods.to_owned(), refused)
    }

    #[test]
    fn each_gets_the_default_or_what_it_asks_for() {
        let claims = [claim(1, "a", "", None), claim(2, "b", "6", None)];
        assert_eq!(
            given(&claims, "10"),
            [line("a", "4", false), line("b", "6", false)]
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_and_the_older_comes_first() {
        let claims = [claim(2, "a", "", None), claim(1, "b", "7", None)];
        assert_eq!(
            given(&claims, "10"),
            [line("a", "0", true), line("b", "7", false)]
        );
    }

    #[test]
    fn nobody_loses_what_they_have_because_another_asks_for_more() {
        let (four, six) = (most("4"), most("6"));
        let claims = [
            claim(1, "a", "5", Some(&four)),
            claim(2, "b", "6", Some(&six)),
        ];
        assert_eq!(
            given(&claims, "10"),
            [line("a", "4", true), line("b", "6", false)]
        );
        // What one gives back another can have.
        let claims = [
            claim(1, "a", "3", Some(&four)),
            claim(2, "b", "7", Some(&six)),
        ];
        assert_eq!(
            given(&claims, "10"),
            [line("a", "3", false), line("b", "7", false)]
        );
    }

    #[test]
    fn an_annotation_that_cannot_be_read_is_said_and_counts_as_none() {
        for bad in ["x", "{}", r#"{"limit": {"pods": "many"}}"#] {
            let claim = Claim {
                made: 1,
                namespace: "a",
                annotation: bad,
                has: None,
            };
            let split = split(&most("10"), &most("4"), &[claim]);
            assert_eq!(split["a"].most, most("4"), "{bad}");
            let why = split["a"].refused.as_deref().unwrap();
            assert!(why.contains("cannot be read"), "{why}");
        }
    }

    proptest! {
        #[test]
        fn never_more_is_given_than_there_is(
            asks in prop::collection::vec((0..5_i64, 0..20_u32, prop::option::of(0..6_u32)), 1..8),
        ) {
            let names: Vec<String> = (0..asks.len()).map(|at| format!("n-{at}")).collect();
            let has: Vec<Option<Most>> = asks
                .iter()
                .map(|(_, _, has)| has.map(|pods| most(&pods.to_string())))
                .collect();
            let annotations: Vec<String> = asks
                .iter()
                .map(|(_, pods, _)| format!(r#"{{"limit": {{"pods": "{pods}"}}}}"#))
                .collect();
            let claims: Vec<Claim<'_>> = (0..asks.len())
                .map(|at| Claim {
                    made: asks[at].0,
                    namespace: &names[at],
                    annotation: &annotations[at],
                    has: has[at].as_ref(),
                })
                .collect();
            let before: Most = has.iter().flatten().fold(most("0"), |sum, one| {
                [("pods".to_owned(), sum["pods"].plus(one["pods"]))].into()
            });
            let limit = most("30").max(before);
            let split = split(&limit, &most("4"), &claims);
            prop_assert!(used(&split)["pods"] <= limit["pods"]);
            for (at, name) in names.iter().enumerate() {
                let refused = split[name].refused.is_some();
                let before = has[at].as_ref().map_or(Amount::ZERO, |has| has["pods"]);
                let asked: Amount = asks[at].1.to_string().parse().unwrap();
                let expected = if refused { before } else { asked };
                prop_assert_eq!(split[name].most["pods"], expected);
            }
        }
    }
}
