use super::authorizer::FUNCTIONS;
use super::compiled::Compiled;
use super::*;
use crate::schema::cel::{Declared, Evaluated, Evaluation, Type};
use kube_cel::cel::Value;
use serde_json::json;

fn checked(text: &str, composed: &[&str], types: &[Type]) -> Result<(), String> {
    let allowed = Allowed {
        params: false,
        authorizer: true,
    };
    let declared = |name: &&str| Declared {
        name: (*name).to_owned(),
        levels: 0,
    };
    let composed: Vec<_> = composed.iter().map(declared).collect();
    check_expression(text, allowed, &composed, types).map(drop)
}

#[test]
fn expressions_that_cannot_be_are_refused_in_upstreams_words() {
    let table = [
        (
            "params == null",
            "compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')\n | params == null\n | ^",
        ),
        (
            "object.a == 1 &&\n  nothing.b(2)",
            "compilation failed: ERROR: <input>:2:3: undeclared reference to 'nothing' (in container '')\n |   nothing.b(2)\n | ..^",
        ),
        (
            "variables.b == 1",
            "compilation failed: ERROR: <input>:1:10: undefined field 'b'\n | variables.b == 1\n | .........^",
        ),
        ("'text'", "must evaluate to bool but got string"),
        ("object.spec", "must evaluate to bool but got dyn"),
        ("1 + 1", "must evaluate to bool but got int"),
    ];
    for (text, expected) in table {
        let found = checked(text, &["a"], &[Type::Bool]);
        assert_eq!(found.unwrap_err(), expected, "{text}");
    }
    let found = checked("1", &[], &[Type::String, Type::Null]);
    let expected = "must evaluate to one of [string null_type] but got int";
    assert_eq!(found.unwrap_err(), expected);
}

#[test]
fn what_may_be_an_expression_passes() {
    for text in [
        "true",
        "object.spec.items.all(item, item.name.startsWith('a') && item.size < 3)",
        "has(object.metadata.labels) && 'a' in object.metadata.labels",
        "variables.a",
        "request.userInfo.groups.exists(group, group == 'x')",
        "authorizer.group('').resource('pods').check('get').allowed()",
        "authorizer.requestResource.check('get').allowed()",
        "sets.contains(['a'], ['a']) || math.greatest(1, 2) > 1",
        "type(object.spec.x) == string",
        "object.x.map(object, object.y).size() == 0",
        "oldObject == null || oldObject.spec != object.spec",
    ] {
        assert_eq!(checked(text, &["a"], &[Type::Bool]), Ok(()), "{text}");
    }
}

/// Variables of which each asks for the one before, and an expression that asks for the last.
fn chain(length: usize, step: &str) -> Compiled {
    let variables = (0..length).map(|at| match at {
        0 => json!({"name": "v0", "expression": "1"}),
        _ => {
            let expression = step.replace("it", &format!("variables.v{}", at - 1));
            json!({"name": format!("v{at}"), "expression": expression})
        }
    });
    let variables: Vec<_> = variables.collect();
    let last = format!("variables.v{} != 0", length - 1);
    let spec = json!({"variables": variables, "validations": [{"expression": last}]});
    Compiled::new(&serde_json::from_value(spec).unwrap())
}

fn evaluated(compiled: &Compiled) -> Evaluated {
    let mut evaluation = Evaluation::new(&FUNCTIONS, &compiled.variables, 10_000_000);
    evaluation.evaluate(compiled.validations[0].expression.as_ref().unwrap())
}

fn is_taken(compiled: &Compiled) -> bool {
    compiled.variables.values().all(Result::is_ok) && compiled.validations[0].expression.is_ok()
}

#[test]
fn variables_nest_only_so_deep_and_on_a_small_stack() {
    let run = || {
        let steps = [
            "it + 1",
            "[it]",
            "[[[[it]]]]",
            "((((it + 1) + 1) + 1) + 1)",
            "it",
        ];
        for step in steps {
            let taken = |length: &usize| is_taken(&chain(*length, step));
            let longest = (1..100).take_while(taken).last().unwrap();
            assert!((4..30).contains(&longest), "{step} {longest}");
            let outcome = evaluated(&chain(longest, step));
            assert!(matches!(outcome, Evaluated::Value(_)), "{step} {outcome:?}");
        }
    };
    // The stack of tokio's workers.
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    thread.spawn(run).unwrap().join().unwrap();
    assert!(!is_taken(&chain(1000, "it")));
}

#[test]
fn of_two_variables_of_a_name_none_asks_for_itself() {
    let spec = json!({"variables": [{"name": "v", "expression": "1"},
        {"name": "v", "expression": "variables.v"}],
        "validations": [{"expression": "variables.v == 1"}]});
    let compiled = Compiled::new(&serde_json::from_value(spec).unwrap());
    let outcome = evaluated(&compiled);
    assert!(
        matches!(outcome, Evaluated::Value(Value::Bool(true))),
        "{outcome:?}"
    );
}
