use super::*;
use crate::schema::cel::Type;

fn checked(text: &str, composed: &[&str], types: &[Type]) -> Result<(), String> {
    let allowed = Allowed {
        params: false,
        authorizer: true,
    };
    let composed: Vec<_> = composed.iter().map(|&name| name.to_owned()).collect();
    check_expression(text, allowed, &composed, types)
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
