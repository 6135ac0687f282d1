//! exec with a terminal, which script(1) gives to kubectl.

use std::process::Command;

use anyhow::Result;

use super::shell_pod;
use crate::table::{Context, LIMIT, Scenario, custom, invoke};

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "tty",
        prepare: shell_pod().into(),
        steps: vec![
            custom("exec -it tells the size of the window", |context| {
                in_terminal(context, "", WINDOW_SIZE, "")
            }),
            custom(
                "exec -it over SPDY tells the size of the window",
                |context| in_terminal(context, SPDY, WINDOW_SIZE, ""),
            )
            .since(31),
            custom(
                "exec -it is a terminal and gives the exit code",
                |context| {
                    in_terminal(
                        context,
                        "",
                        "exec -it shell -- sh -c 'test -t 0 && test -t 1 && exit 7'",
                        "",
                    )
                },
            ),
            custom("exec -it reads what is typed", |context| {
                in_terminal(
                    context,
                    "",
                    "exec -it shell -- sh -c 'read word; echo got $word; exit 5'",
                    "typed\n",
                )
            }),
            custom("exec -it over SPDY reads what is typed", |context| {
                in_terminal(
                    context,
                    SPDY,
                    "exec -it shell -- sh -c 'read word; echo got $word; exit 5'",
                    "typed\n",
                )
            })
            .since(31),
            custom("exec -t joins output and errors", |context| {
                in_terminal(
                    context,
                    "",
                    "exec -it shell -- sh -c 'echo one; echo two >&2; exit 0'",
                    "",
                )
            }),
        ],
    }
}

/// The size arrives a moment after the start of the program; until then busybox's stty prints
/// nothing, and exits with 0 all the same.
const WINDOW_SIZE: &str = "exec -it shell -- sh -c 'for i in $(seq 100); do size=$(stty size 2> /dev/null); test -n \"$size\" && echo $size && exit 0; sleep 0.1; done; exit 9'";

const SPDY: &str = "KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false";

fn in_terminal(context: &Context, env: &str, arguments: &str, typed: &str) -> Result<String> {
    let line = format!(
        "stty rows 33 cols 111 -echo; {env} '{}' --kubeconfig '{}' --namespace {} {arguments}",
        context.client.program.display(),
        context.way.kubeconfig.display(),
        context.namespace,
    );
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let outcome = invoke::run_typing(&mut script, typed.as_bytes(), LIMIT)?;
    // What is typed may be echoed, depending on which terminal sees it first.
    let text: String = outcome
        .stdout_text()
        .replace('\r', "")
        .lines()
        .filter(|line| !line.is_empty() && *line != typed.trim())
        .map(|line| format!("{line}\n"))
        .collect();
    Ok(format!("exit {:?}\n{text}", outcome.code))
}
