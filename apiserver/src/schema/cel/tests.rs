use std::time::Duration;

use nix::time::ClockId;
use serde_json::{Value, json};

use crate::schema::{Schema, validate};

fn schema(json: &Value) -> Schema {
    Schema::parse(json).unwrap()
}

/// An object with these properties and rules.
#[allow(
    clippy::needless_pass_by_value,
    reason = "taken from json! where it is called"
)]
fn object(properties: Value, rules: Value) -> Schema {
    schema(&json!({"type": "object", "properties": properties, "x-kubernetes-validations": rules}))
}

fn texts(schema: &Schema, new: &Value, old: Option<&Value>) -> Vec<String> {
    validate(schema, new, old)
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn rules_hold_or_say_why_not() {
    let properties = json!({
        "min": {"type": "integer"}, "max": {"type": "integer"},
        "names": {"type": "array", "items": {"type": "string"}},
        "time": {"type": "string", "format": "date-time"},
        "share": {"type": "number"},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
        "namespace": {"type": "string"}
    });
    let table: [(Value, Value, &[&str]); 14] = [
        (
            json!({"rule": "self.min <= self.max"}),
            json!({"min": 1, "max": 2}),
            &[],
        ),
        (
            json!({"rule": "self.min <= self.max"}),
            json!({"min": 3, "max": 2}),
            &["<nil>: Invalid value: failed rule: self.min <= self.max"],
        ),
        (
            json!({"rule": "self.min <= self.max", "message": " min is above max ",
                "reason": "FieldValueForbidden", "fieldPath": ".min"}),
            json!({"min": 3, "max": 2}),
            &["min: Forbidden: min is above max"],
        ),
        (
            json!({"rule": "self.min <= self.max", "reason": "FieldValueDuplicate"}),
            json!({"min": 3, "max": 2}),
            &["<nil>: Duplicate value"],
        ),
        (
            json!({"rule": "self.min <= self.max", "reason": "FieldValueRequired", "message": "m"}),
            json!({"min": 3, "max": 2}),
            &["<nil>: Required value: m"],
        ),
        (
            json!({"rule": "self.min <= self.max",
                "messageExpression": "'min is ' + string(self.min)", "message": "m"}),
            json!({"min": 3, "max": 2}),
            &["<nil>: Invalid value: min is 3"],
        ),
        (
            json!({"rule": "self.min <= self.max", "messageExpression": "self.nope", "message": "m"}),
            json!({"min": 3, "max": 2}),
            &["<nil>: Invalid value: m"],
        ),
        (
            json!({"rule": "self.names.all(n, n.startsWith('a'))"}),
            json!({"names": ["a", "ab"]}),
            &[],
        ),
        (
            json!({"rule": "self.names.exists(n, n == 'x') || self.names.size() > 2"}),
            json!({"names": ["a"]}),
            &[
                "<nil>: Invalid value: failed rule: self.names.exists(n, n == 'x') || self.names.size() > 2",
            ],
        ),
        (
            json!({"rule": "self.names.filter(n, n != 'b').map(n, n + '!') == ['a!', 'c!']"}),
            json!({"names": ["a", "b", "c"]}),
            &[],
        ),
        (
            json!({"rule": "self.time < timestamp('2024-01-01T00:00:00Z') && self.share == 2.0"}),
            json!({"time": "2023-01-01T00:00:00Z", "share": 2}),
            &[],
        ),
        (
            json!({"rule": "self.map['a-b'] == 'x' && self.map.all(k, k.size() == 3) && self.__namespace__ == 'n'"}),
            json!({"map": {"a-b": "x"}, "namespace": "n"}),
            &[],
        ),
        (
            json!({"rule": "!has(self.min) || self.min > 0"}),
            json!({}),
            &[],
        ),
        (
            json!({"rule": "self.max > 0"}),
            json!({}),
            &["<nil>: Invalid value: \"object\": no such key: max evaluating rule: self.max > 0"],
        ),
    ];
    for (rule, value, expected) in table {
        let schema = object(properties.clone(), json!([rule]));
        assert_eq!(texts(&schema, &value, None), expected, "{rule} {value}");
    }
}

#[test]
fn rules_of_parts_are_asked_where_the_parts_are() {
    let schema = schema(&json!({"type": "object", "properties": {
        "list": {"type": "array", "items": {"type": "integer",
            "x-kubernetes-validations": [{"rule": "self > 0", "message": "m"}]}},
        "map": {"type": "object", "additionalProperties": {"type": "string", "nullable": true,
            "x-kubernetes-validations": [{"rule": "self != ''", "message": "m"}]}}}}));
    let value = json!({"list": [1, -1], "map": {"a": "", "b": null}});
    assert_eq!(
        texts(&schema, &value, None),
        [
            "list[1]: Invalid value: -1: m",
            "map[a]: Invalid value: \"\": m"
        ]
    );
}

#[test]
fn rules_wait_until_types_are_right() {
    let schema = object(
        json!({"a": {"type": "integer"}}),
        json!([{"rule": "self.a > 0"}]),
    );
    assert_eq!(
        texts(&schema, &json!({"a": "x"}), None),
        [
            r#"a: Invalid value: "string": a in body must be of type integer: "string""#,
            "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
        ]
    );
}

#[test]
fn rules_about_changes_are_asked_of_changes() {
    let items = json!({"type": "object", "required": ["k"], "properties": {
        "k": {"type": "string"},
        "v": {"type": "integer", "x-kubernetes-validations": [
            {"rule": "self >= oldSelf", "message": "may not fall"}]}}});
    let schema = schema(&json!({"type": "object", "properties": {
        "list": {"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"], "items": items},
        "new": {"type": "string", "x-kubernetes-validations": [{
            "rule": "oldSelf.hasValue() ? oldSelf.value() == self : self == 'first'",
            "optionalOldSelf": true, "message": "m"}]}}}));
    let old = json!({"list": [{"k": "a", "v": 5}, {"k": "b", "v": 1}], "new": "kept"});
    let table: [(Value, Option<&Value>, &[&str]); 6] = [
        (json!({"list": [{"k": "a", "v": 1}]}), None, &[]),
        (
            json!({"list": [{"k": "b", "v": 2}, {"k": "a", "v": 5}]}),
            Some(&old),
            &[],
        ),
        (
            json!({"list": [{"k": "b", "v": 2}, {"k": "a", "v": 4}]}),
            Some(&old),
            &["list[1].v: Invalid value: 4: may not fall"],
        ),
        (json!({"new": "first"}), None, &[]),
        (json!({"new": "kept"}), Some(&old), &[]),
        (
            json!({"new": "other"}),
            Some(&old),
            &["new: Invalid value: \"other\": m"],
        ),
    ];
    for (new, old, expected) in table {
        assert_eq!(texts(&schema, &new, old), expected, "{new}");
    }
}

#[test]
fn rules_let_pass_what_did_not_change() {
    let schema = object(
        json!({"a": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 0", "message": "m"}]},
            "b": {"type": "integer"}}),
        json!([]),
    );
    let old = json!({"a": -1, "b": 1});
    assert!(texts(&schema, &json!({"a": -1, "b": 2}), Some(&old)).is_empty());
    assert_eq!(
        texts(&schema, &json!({"a": -2}), Some(&old)),
        ["a: Invalid value: -2: m"]
    );
}

/// How long this thread has been at work: others may keep it waiting.
fn processor_time() -> Duration {
    let now = ClockId::CLOCK_THREAD_CPUTIME_ID.now();
    now.map(Duration::from).unwrap()
}

/// A rule that is meant to take long, and how it ends.
fn hostile(rule: &str, value: &Value) -> String {
    let schema = object(
        json!({"list": {"type": "array", "items": {"type": "integer"}},
            "text": {"type": "string"}, "texts": {"type": "array", "items": {"type": "string"}}}),
        json!([{"rule": rule}]),
    );
    let start = processor_time();
    let errors = texts(&schema, value, None);
    let took = processor_time() - start;
    assert!(took < Duration::from_secs(20), "{rule:.60} took {took:?}");
    assert_eq!(errors.len(), 1, "{rule:.60}");
    errors[0].clone()
}

#[test]
fn no_rule_takes_long() {
    let list: Vec<_> = (0..2000).collect();
    let value = json!({"list": list, "text": "a".repeat(100_000), "texts": vec!["aaaaaaaaaaaaaaaaaaab"; 2000]});
    let rules = [
        "self.list.all(a, self.list.all(b, self.list.all(c, a + b + c >= 0)))",
        "self.list.map(a, self.list.map(b, self.list.map(c, a))).size() > 0",
        "self.list.filter(a, self.list.exists(b, self.list.exists_one(c, c == a + b))).size() > 0",
        "self.list.all(a, a in self.list.map(x, x))",
        "self.list.all(a, self.list == self.list)",
        "self.list.all(a, self.text.contains('b') || true)",
        "self.list.all(a, self.text.matches('(a*)*b') || true)",
        "self.list.map(a, self.text + self.text).size() > 0",
        "self.texts.all(t, self.texts.all(u, t != u || true))",
        "self.list.all(a, self.texts.join(',').size() > 0)",
        "lists.range(1000000000).size() > 0",
        "self.text.replace('a', self.text).size() > 0",
        "sets.contains(self.list, self.list) && sets.contains(self.list, self.list)",
        "self.list.all(a, !self.text.matches(string(a) + '(a{100}){20}'))",
        "self.list.all(a, self.list.size() > 0)",
        "self.list.all(a, self.text.replace('a', 'aaaaaaaaaa').size() > 0)",
        "self.list.all(a, self.text.find('(a|b)*a(a|b){400}c') == '')",
        "self.list.all(a, self.text.findAll('a').size() > 0)",
        "self.list.all(a, self.text.split('').size() > 0)",
        "self.list.map(a, self.text).size() > 0",
        "self.list.map(a, self.list).size() > 0",
        "self.list.map(a, optional.of(self.text)).size() > 0",
        "self.list.filter(a, self.list.map(b, [b]).size() > 0).size() > 0",
        "self.list.map(a, (self.list.all(b, [b][1] == b) || true) ? self.list : []).size() > 0",
        "self.list.all(a, self.texts.all(t, true))",
    ];
    for rule in rules {
        let error = hostile(rule, &value);
        assert!(
            error.contains("cost limit exceeded") || error.contains("cost budget"),
            "{rule}: {error}"
        );
    }
}

#[test]
fn no_rule_takes_much_memory() {
    let list: Vec<_> = (0..2000).collect();
    let value = json!({"list": list, "text": "a".repeat(100_000), "texts": vec!["aaaaaaaaaaaaaaaaaaab"; 2000]});
    // As many parts as an expression can have.
    let many = |part: &str, times: usize| vec![part; times].join(", ");
    let all = "true && ".repeat(1500);
    let rules = [
        format!("[{}].size() > 0", many("self.text", 1400)),
        format!("[{}].size() > 0", many("self.list", 1400)),
        format!("[{}].size() > 0", many("[self.texts]", 1000)),
        format!("[{}].size() > 0", many("optional.of(self.text)", 600)),
        format!("{{{}}}.size() > 0", many("1: self.text", 1000)),
        format!("self.list.all(a, self.list.all(b, {all}true))"),
        format!(
            "'{}'.format([{}]).size() > 0",
            "%.65000f".repeat(1000),
            many("1.0", 1000)
        ),
    ];
    for rule in rules {
        let error = hostile(&rule, &value);
        assert!(error.contains("cost limit exceeded"), "{rule:.60}");
    }
    // The runner of tests gives each a process of its own.
    let peak = peak_memory();
    assert!(peak < 400 << 20, "{} MiB", peak >> 20);
}

/// The most memory that this process has had.
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let kibibytes = line.unwrap().split_whitespace().nth(1);
    kibibytes.unwrap().parse::<usize>().unwrap() << 10
}

#[test]
fn errors_do_not_hold_values() {
    let list: Vec<_> = (0..2000).collect();
    let value = json!({"list": list, "text": "a".repeat(100_000), "texts": []});
    let table = [
        ("self.list + 1 == []", "no such overload"),
        ("self.list.startsWith('a')", "no such overload"),
        ("self.list[self.text] == 1", "no such overload"),
        (
            "'%.99999999f'.format([1.0]) == ''",
            "precision is out of range",
        ),
    ];
    for (rule, expected) in table {
        let error = hostile(rule, &value);
        assert!(error.contains(expected), "{rule}: {error}");
        assert!(error.len() < 400, "{rule}: {error}");
    }
}

#[test]
fn many_rules_share_one_budget() {
    let schema = schema(
        &json!({"type": "object", "properties": {"list": {"type": "array", "items": {
        "type": "array", "items": {"type": "integer"},
        "x-kubernetes-validations": [{"rule": "self.all(a, self.all(b, a + b >= 0))"}]}}}}),
    );
    let inner: Vec<_> = (0..200).collect();
    let value = json!({"list": vec![inner; 2000]});
    let start = processor_time();
    let errors = texts(&schema, &value, None);
    assert!(processor_time() - start < Duration::from_secs(60));
    assert!(errors.last().unwrap().contains("cost budget"), "{errors:?}");
}

#[test]
fn large_expressions_are_refused() {
    let refused = [
        "(".repeat(5000) + &")".repeat(5000),
        "!".repeat(5000) + "true",
        "1+".repeat(5000) + "1 > 0",
        "self.a".to_owned() + &".a".repeat(5000),
        "true ? true : ".repeat(1000) + "true",
        "[".repeat(200) + &"]".repeat(200),
        "'".to_owned() + &"a".repeat(20_000) + "' == ''",
    ];
    for rule in refused {
        let schema =
            json!({"type": "object", "x-kubernetes-validations": [{"rule": rule, "message": "m"}]});
        let errors = Schema::parse(&schema).unwrap_err();
        assert!(
            errors[0].detail.contains("may nest at most")
                || errors[0].detail.contains("may have at most"),
            "{errors:?}"
        );
    }
}

#[test]
fn expressions_of_the_greatest_size_are_evaluated_on_a_small_stack() {
    let rules = [
        "(".repeat(44) + "true" + &")".repeat(44),
        "!(".repeat(28) + "true" + &")".repeat(28),
        "1+".repeat(86) + "1 > 0",
        "true ? true : ".repeat(88) + "true",
        vec!["self.a == 1"; 1000].join(" && "),
        vec!["self.a == 2"; 1000].join(" || ") + " || true",
    ];
    let run = move || {
        for rule in rules {
            let schema = object(
                json!({"a": {"type": "integer"}}),
                json!([{"rule": rule, "message": "m"}]),
            );
            let errors = texts(&schema, &json!({"a": 1}), None);
            assert!(errors.is_empty(), "{rule} {errors:?}");
        }
    };
    // The stack of tokio's workers.
    std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn no_expression_takes_long_to_read() {
    let around =
        |before: &str, middle: &str, after: &str| before.repeat(32) + middle + &after.repeat(32);
    let rules = [
        around("!!(", "true", ")"),
        around("!(", "true", ")"),
        around("-(", "1", ")") + " == 1",
        around("[", "1", "]") + " == []",
        around("{'a': ", "1", "}") + " == {}",
        around("(true ? ", "true", " : false)"),
        around("(true && ", "true", ")"),
        around("(false || ", "true", ")"),
        around("(1 + ", "1", ")") + " > 0",
        around("size(", "'a'", ")") + " > 0",
        around("[1].all(x, ", "x > 0", ")"),
        around("[1].map(x, x > 0, ", "x", ")") + " != []",
        around("[1].filter(x, ", "x > 0", ").size() > 0"),
        around("self.a[", "'a'", "]") + " == 1",
        around("(1 in [", "1", "])"),
        around("(1 < ", "1", ")"),
        "has(self.a.b.c) && ".repeat(500) + "true",
        "\u{0}".repeat(1000),
        "'".to_owned(),
        "a{b: 1}".to_owned(),
        "self.a[?'b']".to_owned(),
    ];
    for rule in rules {
        let schema = json!({"type": "object", "properties": {"a": {"type": "object",
            "additionalProperties": {"type": "integer"}}},
            "x-kubernetes-validations": [{"rule": rule, "message": "m"}]});
        let start = processor_time();
        if let Ok(schema) = Schema::parse(&schema) {
            texts(&schema, &json!({"a": {"a": 1}}), None);
        }
        let took = processor_time() - start;
        assert!(took < Duration::from_secs(10), "{rule} took {took:?}");
    }
}
