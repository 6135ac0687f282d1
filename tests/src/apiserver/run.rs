//! Runs cases against both servers.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{
    cases::{File, Invocation, Request},
    compare::{self, Difference},
    report::Report,
    side::{Answer, Side},
};
use crate::table::{Client, Normaliser, Outcome};

/// How long what happens on its own may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Both servers.
pub struct Both {
    /// Ours.
    pub ours: Side,
    /// kube-apiserver.
    pub theirs: Side,
}

impl Both {
    /// Sends the requests of a file.
    ///
    /// # Errors
    /// When its namespace cannot be made.
    pub async fn requests(&mut self, file: &File<Request>, report: &mut Report) -> Result<()> {
        let namespace = format!("r-{}", file.name);
        let body = serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace},
        });
        let made: Request = serde_json::from_value(serde_json::json!({
            "send": "POST /api/v1/namespaces", "body": body,
        }))?;
        for side in [&mut self.ours, &mut self.theirs] {
            side.know("ns", &namespace);
            let answer = side.send(&made).await?;
            ensure!(answer.code == 201, "a namespace: {}", answer.body);
        }
        for (index, case) in file.cases.iter().enumerate() {
            let about = match case.about.as_str() {
                "" => String::new(),
                about => format!(" ({about})"),
            };
            let name = format!("{}/{}: {}{about}", file.name, index + 1, case.send);
            let found = self.request(case).await;
            report.add(&name, found);
        }
        Ok(())
    }

    async fn request(&mut self, case: &Request) -> Result<Vec<Difference>> {
        let right = |code: u16| match case.code {
            Some(wanted) => code == wanted || Some(code) == case.slow,
            None => (200..300).contains(&code),
        };
        let started = Instant::now();
        let (ours, theirs) = loop {
            let (ours, theirs) = tokio::join!(self.ours.send(case), self.theirs.send(case));
            let (ours, theirs) = (ours?, theirs?);
            let is_there = |answer: &Answer| {
                let (at, text) = (case.until_at.as_deref(), case.until_has.as_deref());
                right(answer.code)
                    && at.is_none_or(|at| answer.body.pointer(at).is_some())
                    && text.is_none_or(|text| answer.body.to_string().contains(text))
            };
            let waits = case.until || case.until_at.is_some() || case.until_has.is_some();
            let both = is_there(&ours) && is_there(&theirs);
            if both || !waits || started.elapsed() > PATIENCE {
                break (ours, theirs);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        ensure!(
            right(theirs.code),
            "kube-apiserver answered {}: {}",
            theirs.code,
            theirs.body
        );
        let mut found = Vec::new();
        compare::values("", &ours.head, &theirs.head, &mut found);
        compare::values("body", &ours.body, &theirs.body, &mut found);
        Ok(found)
    }

    /// Runs the invocations of a file.
    ///
    /// # Errors
    /// When its namespace cannot be made.
    pub fn invocations(
        &mut self,
        file: &File<Invocation>,
        client: &Client,
        report: &mut Report,
    ) -> Result<()> {
        let namespace = format!("k{}-{}", client.minor, file.name);
        self.ours.know("ns", &namespace);
        self.theirs.know("ns", &namespace);
        let create: Invocation =
            serde_json::from_value(serde_json::json!({"run": "create -f -", "stdin": {
                "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}}))?;
        let [ours, theirs] = self.run(client, &namespace, &create);
        for outcome in [ours?, theirs?] {
            ensure!(outcome.code == Some(0), "{}", outcome.transcript());
        }
        let normalisers = [
            Normaliser::new(&namespace, self.ours.kubeconfig())?,
            Normaliser::new(&namespace, self.theirs.kubeconfig())?,
        ];
        for (index, case) in file.cases.iter().enumerate() {
            let place = format!("{}/{} 1.{}", file.name, index + 1, client.minor);
            let name = format!("{place}: kubectl {}", case.run);
            let [ours, theirs] = self.run(client, &namespace, case);
            let found =
                ours.and_then(|ours| compared(case, &ours, &theirs?, &normalisers, &self.ours));
            report.add(&name, found);
        }
        Ok(())
    }

    fn run(&self, client: &Client, namespace: &str, case: &Invocation) -> [Result<Outcome>; 2] {
        std::thread::scope(|scope| {
            let ours = scope.spawn(|| self.ours.kubectl(client, namespace, case));
            let theirs = self.theirs.kubectl(client, namespace, case);
            let ours = ours.join();
            [
                ours.unwrap_or_else(|_| Err(anyhow::anyhow!("a panic"))),
                theirs,
            ]
        })
    }
}

fn compared(
    case: &Invocation,
    ours: &Outcome,
    theirs: &Outcome,
    [our_normaliser, their_normaliser]: &[Normaliser; 2],
    side: &Side,
) -> Result<Vec<Difference>> {
    ensure!(
        theirs.code == Some(case.exit),
        "with kube-apiserver: {}",
        theirs.transcript()
    );
    let mut texts = [
        our_normaliser.apply(&ours.transcript()),
        their_normaliser.apply(&theirs.transcript()),
    ];
    if case.sorted {
        for text in &mut texts {
            let mut lines: Vec<_> = text.lines().collect();
            lines.sort_unstable();
            *text = lines.join("\n");
        }
    }
    let mut found = Vec::new();
    if case.json {
        let values = [ours, theirs].map(|outcome| side.value(&outcome.stdout));
        compare::values("json", &values[0], &values[1], &mut found);
    } else {
        compare::texts(&texts[0], &texts[1], &mut found);
    }
    Ok(found)
}
