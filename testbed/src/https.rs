//! A small blocking HTTPS client, just enough to ask an API server whether it is ready and to fill
//! it with objects.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, StreamOwned,
    client::WantsClientCert,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use crate::{Error, Result, pki::Identity};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks one server, as one identity.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    config: Arc<ClientConfig>,
    server: SocketAddr,
}

/// Status code, headers and body of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// The values of a header, by its name in lower case.
    pub(crate) fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        (self.headers.iter())
            .filter(move |(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }
}

impl Client {
    pub(crate) fn new(server: SocketAddr, authority: &str, identity: &Identity) -> Result<Self> {
        let config = config(authority, identity).map_err(|detail| Error::Unexpected {
            step: "prepare a TLS client".into(),
            detail,
        })?;
        Ok(Self {
            config: Arc::new(config),
            server,
        })
    }

    /// GET of a path on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> io::Result<Answer> {
        self.connect()?.send("GET", path, "")
    }

    /// A connection for several requests, one after the other.
    pub(crate) fn connect(&self) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&self.server, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        let name = ServerName::from(self.server.ip());
        let tls =
            ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)?;
        Ok(Connection {
            stream: BufReader::new(StreamOwned::new(tls, stream)),
            host: self.server,
        })
    }
}

/// A kept connection.
pub(crate) struct Connection {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    host: SocketAddr,
}

impl Connection {
    /// Sends a request with a JSON body and reads the whole answer.
    pub(crate) fn send(&mut self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.host,
            body.len(),
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        read_answer(&mut self.stream)
    }
}

/// Reads an answer with a length, or in chunks.
pub(crate) fn read_answer(stream: &mut impl BufRead) -> io::Result<Answer> {
    let malformed = |what| io::Error::other(format!("the answer has no proper {what}"));
    let status_line = read_line(stream)?;
    let status = status_line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| malformed("status"))?;
    let (mut length, mut chunked) = (0, false);
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("header"))?;
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        match name.as_str() {
            "content-length" => length = value.parse().map_err(|_| malformed("length"))?,
            "transfer-encoding" => chunked = true,
            _ => {}
        }
        headers.push((name, value));
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            let size =
                u64::from_str_radix(&read_line(stream)?, 16).map_err(|_| malformed("chunk"))?;
            stream.take(size).read_to_end(&mut body)?;
            read_line(stream)?;
            if size == 0 {
                break;
            }
        }
    } else {
        stream.take(length).read_to_end(&mut body)?;
    }
    Ok(Answer {
        status,
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if stream.take(64 * 1024).read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.trim_end().len());
    Ok(line)
}

fn config(authority: &str, identity: &Identity) -> std::result::Result<ClientConfig, String> {
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())
        .map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())
        .map_err(|error| error.to_string())?;
    builder(&[authority.to_owned()])?
        .with_client_auth_cert(vec![certificate], key)
        .map_err(|error| error.to_string())
}

/// TLS for a client without a certificate that trusts `authorities`, in PEM.
pub(crate) fn trusting(authorities: &[String]) -> Result<Arc<ClientConfig>> {
    let config = builder(authorities).map_err(|detail| Error::Unexpected {
        step: "prepare a TLS client".into(),
        detail,
    })?;
    Ok(Arc::new(config.with_no_client_auth()))
}

fn builder(
    authorities: &[String],
) -> std::result::Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        let certificate = CertificateDer::from_pem_slice(authority.as_bytes());
        (roots.add(certificate.map_err(|error| error.to_string())?))
            .map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_with_a_length_and_in_chunks_are_read() {
        let sized = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 404 No\r\n";
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n";
        for text in [sized, chunked] {
            let answer = read_answer(&mut text.as_bytes()).unwrap();
            assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
            assert_eq!(answer.headers.len(), 1, "{answer:?}");
        }
    }
}
