//! A real browser: a headless Chromium, driven step by step. For what only a browser can show: which
//! cookies go where, what a policy lets a page do, what people see.

use std::{
    fs,
    io::{self, BufReader, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    Error, Result, Testbed,
    error::Step,
    https,
    npm::Package,
    packages::{self, Program},
    process::Process,
    site::Ports,
};

const DRIVER: Package = Package {
    name: "chromium",
    manifest: include_str!("../tools/chromium/package.json"),
    lock: include_str!("../tools/chromium/package-lock.json"),
    program: ("driver.mjs", include_str!("../tools/chromium/driver.mjs")),
};

const CHROMIUM: [Program; 1] = [Program {
    name: "chromium",
    package: "chromium",
}];

/// How long it may take until it can be driven, and until a step is done.
const START: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_secs(30);

/// How long it may take to close.
const GRACE: Duration = Duration::from_secs(5);

/// A browser that runs; ended when dropped.
#[derive(Debug)]
pub struct Chromium {
    process: Process,
    port: u16,
}

/// One person with the browser: cookies of their own, and one page.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    browser: &'a Chromium,
    name: &'a str,
}

impl Testbed {
    /// Starts a Chromium, its log in `folder`. It takes every certificate.
    ///
    /// # Errors
    /// When it cannot be installed or does not start.
    pub fn chromium(&self, folder: &Path) -> Result<Chromium> {
        fs::create_dir_all(folder).at("create", folder)?;
        packages::ensure_all(&CHROMIUM)?;
        let port = Ports::on_loopback(self.slot().index(), self.next_number()?)?.first();
        let program = program(port)?;
        let log = folder.join("chromium.log");
        let process = Process::start(self.slot(), "chromium", &program, &log)?;
        process.until("the browser answering", START, || {
            Ok(match TcpStream::connect(("127.0.0.1", port)) {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            })
        })?;
        Ok(Chromium { process, port })
    }
}

impl Chromium {
    /// The person of that name; new, if nobody was called so.
    #[must_use]
    pub fn person<'a>(&'a self, name: &'a str) -> Person<'a> {
        Person {
            browser: self,
            name,
        }
    }

    fn step(&self, step: &Value) -> Result<Value> {
        let what = format!(
            "{} in the browser",
            step["step"].as_str().unwrap_or("a step")
        );
        let unexpected = |detail: String| Error::Unexpected {
            step: what.clone(),
            detail,
        };
        let (status, answer) = self.post(step).step(|| what.clone())?;
        match (status, answer["error"].as_str()) {
            (200, None) => Ok(answer["said"].clone()),
            (_, Some(error)) => Err(unexpected(error.to_owned())),
            (status, None) => Err(unexpected(format!("status {status}"))),
        }
    }

    fn post(&self, step: &Value) -> io::Result<(u16, Value)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(STEP))?;
        let body = step.to_string();
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: driver\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let answer = https::read_answer(&mut BufReader::new(stream))?;
        let said = serde_json::from_str(&answer.body).map_err(io::Error::other)?;
        Ok((answer.status, said))
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        self.process.stop(GRACE);
    }
}

impl Person<'_> {
    /// Opens a URL, and returns where that led.
    ///
    /// # Errors
    /// When nothing is shown there.
    pub fn open(&self, url: &str) -> Result<String> {
        self.text_of("goto", json!({"url": url}))
    }

    /// Types into a field.
    ///
    /// # Errors
    /// When there is none.
    pub fn fill(&self, selector: &str, value: &str) -> Result<()> {
        let fields = json!({"selector": selector, "value": value});
        self.step("fill", fields).map(drop)
    }

    /// Clicks.
    ///
    /// # Errors
    /// When there is nothing to click on.
    pub fn click(&self, selector: &str) -> Result<()> {
        self.step("click", json!({"selector": selector})).map(drop)
    }

    /// The text of what a selector finds, as soon as it can be seen.
    ///
    /// # Errors
    /// When it cannot.
    pub fn text(&self, selector: &str) -> Result<String> {
        self.text_of("text", json!({"selector": selector}))
    }

    /// Waits until the page is one whose URL begins so, and returns its URL.
    ///
    /// # Errors
    /// When that does not happen.
    pub fn arrive(&self, url: &str) -> Result<String> {
        self.text_of("arrive", json!({"url": url}))
    }

    /// Where the page is.
    ///
    /// # Errors
    /// When the browser has ended.
    pub fn url(&self) -> Result<String> {
        self.text_of("url", json!({}))
    }

    /// What an expression is worth in the page.
    ///
    /// # Errors
    /// When it fails.
    pub fn run(&self, script: &str) -> Result<Value> {
        self.step("run", json!({"script": script}))
    }

    /// The cookies, as the browser keeps them.
    ///
    /// # Errors
    /// When the browser has ended.
    pub fn cookies(&self) -> Result<Vec<Value>> {
        let cookies = self.step("cookies", json!({}))?;
        Ok(cookies.as_array().cloned().unwrap_or_default())
    }

    /// What the browser has complained about, such as scripts that a policy has stopped.
    ///
    /// # Errors
    /// When the browser has ended.
    pub fn complaints(&self) -> Result<Vec<String>> {
        let said = self.step("complaints", json!({}))?;
        let said = said.as_array().into_iter().flatten();
        Ok(said
            .filter_map(|one| Some(one.as_str()?.to_owned()))
            .collect())
    }

    /// Closes the page, and forgets the cookies.
    ///
    /// # Errors
    /// When the browser has ended.
    pub fn leave(self) -> Result<()> {
        self.step("leave", json!({})).map(drop)
    }

    fn text_of(&self, name: &str, fields: Value) -> Result<String> {
        let said = self.step(name, fields)?;
        Ok(said.as_str().unwrap_or_default().to_owned())
    }

    fn step(&self, name: &str, fields: Value) -> Result<Value> {
        let mut step = fields;
        step["step"] = json!(name);
        step["person"] = json!(self.name);
        self.browser.step(&step)
    }
}

fn program(port: u16) -> Result<Command> {
    let chromium = packages::find("chromium").ok_or_else(|| Error::MissingProgram {
        program: "chromium".into(),
        remedy: "sudo apt-get install --no-install-recommends chromium".into(),
    })?;
    let mut driver = DRIVER.command()?;
    driver.arg(port.to_string()).arg(chromium);
    Ok(driver)
}
