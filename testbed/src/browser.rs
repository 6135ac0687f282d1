//! A person's browser, played: it keeps cookies, follows redirects and fills in forms.
//!
//! It stays with the server that it was sent to. A redirect to any other, which is how a login ends,
//! is not followed but returned.

mod cookies;
mod form;

use std::{
    fs, io,
    io::{BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use url::Url;

use crate::{
    Error, Result,
    error::Step,
    https::{self, Answer},
};
use cookies::Cookies;
use form::Form;

const TIMEOUT: Duration = Duration::from_secs(20);
const REDIRECTS: usize = 20;
const PAGES: usize = 10;

/// A browser; its cookies go with it.
#[derive(Debug)]
pub struct Browser {
    tls: Arc<ClientConfig>,
    cookies: Cookies,
}

/// Where a request, and the redirects after it, have led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visit {
    /// The server shows something.
    Page(Page),
    /// The server sends the browser elsewhere, to this URL.
    Left(Url),
}

/// What a server shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Where it is.
    pub url: Url,
    /// The status code.
    pub status: u16,
    /// The page, mostly HTML.
    pub body: String,
}

/// What somebody does who is asked to sign in.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    /// The name that is typed.
    pub name: &'a str,
    /// The password that is typed.
    pub password: &'a str,
    /// Whether the application is then allowed what it asks for.
    pub consents: bool,
}

impl Browser {
    /// One that trusts the authorities in these files alone.
    ///
    /// # Errors
    /// When a file cannot be read or holds no certificate.
    pub fn new(authorities: &[&Path]) -> Result<Self> {
        let read = |file: &&Path| fs::read_to_string(file).at("read", file);
        let authorities = (authorities.iter().map(read)).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            tls: https::trusting(&authorities)?,
            cookies: Cookies::default(),
        })
    }

    /// Goes to a URL.
    ///
    /// # Errors
    /// When it is none, or the server does not answer.
    pub fn open(&mut self, url: &str) -> Result<Visit> {
        let url = Url::parse(url).map_err(|error| unexpected(url, error))?;
        self.visit("GET", url, String::new())
    }

    /// Sends the form of a page, its hidden fields with these.
    ///
    /// # Errors
    /// When the page has no form, or the server does not answer.
    pub fn submit(&mut self, page: &Page, fields: &[(&str, &str)]) -> Result<Visit> {
        let form = Form::find(&page.body).ok_or_else(|| unexpected(&page.url, "it has no form"))?;
        let target = (page.url.join(&form.action)).map_err(|error| unexpected(&page.url, error))?;
        let hidden = (form.fields.iter())
            .filter(|field| field.kind == "hidden")
            .map(|field| (field.name.as_str(), field.value.as_str()));
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(hidden.chain(fields.iter().copied()))
            .finish();
        self.visit("POST", target, body)
    }

    /// Opens a URL that asks to sign in, to allow an application something or to confirm a logout,
    /// does what it asks, and returns where that led: [`Visit::Left`] with the URL of the application when it is done or
    /// refused by the visitor, [`Visit::Page`] when the provider refuses.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn sign_in(&mut self, url: &str, visitor: &Visitor<'_>) -> Result<Visit> {
        let mut visit = self.open(url)?;
        let mut has_tried = false;
        for _ in 0..PAGES {
            let Visit::Page(page) = &visit else {
                return Ok(visit);
            };
            let Some(form) = Form::find(&page.body) else {
                return Ok(visit);
            };
            let find = |kind: &str| form.fields.iter().find(|field| field.kind == kind);
            if let (Some(name), Some(password)) = (find("text"), find("password")) {
                if has_tried {
                    return Ok(visit);
                }
                has_tried = true;
                let fields = [
                    (name.name.as_str(), visitor.name),
                    (password.name.as_str(), visitor.password),
                ];
                visit = self.submit(page, &fields)?;
            } else {
                // The first button says yes, the last one no.
                let mut buttons = form.fields.iter().filter(|field| field.kind == "submit");
                let button = if visitor.consents {
                    buttons.next()
                } else {
                    buttons.next_back()
                };
                let button = button
                    .filter(|button| !button.name.is_empty())
                    .map(|button| (button.name.as_str(), button.value.as_str()));
                visit = self.submit(page, button.as_slice())?;
            }
        }
        Ok(visit)
    }

    fn visit(&mut self, method: &str, mut url: Url, body: String) -> Result<Visit> {
        let origin = url.origin();
        let mut request = (method, body);
        for _ in 0..REDIRECTS {
            let (method, body) = &request;
            let answer =
                (self.ask(method, &url, body)).step(|| format!("{method} {}", url.as_str()))?;
            self.cookies.keep(&url, answer.headers("set-cookie"));
            let Some(next) = redirect(&answer) else {
                return Ok(Visit::Page(Page {
                    url,
                    status: answer.status,
                    body: answer.body,
                }));
            };
            url = url.join(next).map_err(|error| unexpected(&url, error))?;
            if url.origin() != origin {
                return Ok(Visit::Left(url));
            }
            if !matches!(answer.status, 307 | 308) {
                request = ("GET", String::new());
            }
        }
        Err(unexpected(&url, "it redirects for ever"))
    }

    fn ask(&self, method: &str, url: &Url, body: &str) -> io::Result<Answer> {
        let address = *url
            .socket_addrs(|| None)?
            .first()
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let request = self.request(method, url, body);
        if url.scheme() != "https" {
            return exchange(stream, &request);
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let tls = ClientConnection::new(Arc::clone(&self.tls), name).map_err(io::Error::other)?;
        exchange(StreamOwned::new(tls, stream), &request)
    }

    fn request(&self, method: &str, url: &Url, body: &str) -> String {
        let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n");
        request.push_str("Accept: text/html\r\nConnection: close\r\n");
        if let Some(cookies) = self.cookies.header(url) {
            request.push_str(&format!("Cookie: {cookies}\r\n"));
        }
        if method == "POST" {
            let origin = url.origin().ascii_serialization();
            request.push_str(&format!(
                "Origin: {origin}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                 Content-Length: {}\r\n",
                body.len()
            ));
        }
        request + "\r\n" + body
    }
}

fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<Answer> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    https::read_answer(&mut BufReader::new(stream))
}

fn redirect(answer: &Answer) -> Option<&str> {
    matches!(answer.status, 301 | 302 | 303 | 307 | 308)
        .then(|| answer.headers("location").next())
        .flatten()
}

fn unexpected(url: impl std::fmt::Display, detail: impl std::fmt::Display) -> Error {
    Error::Unexpected {
        step: format!("open {url}"),
        detail: detail.to_string(),
    }
}
