//! bore: `bore server ADDRESS`, or `bore local PORT SERVER REMOTE_PORT`.

use bore_cli::{client::Client, server::Server};
use std::{env, net::IpAddr};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["server", address] => {
            let mut server = Server::new(1024..=65535, None);
            let address: IpAddr = address.parse()?;
            server.set_bind_addr(address);
            server.set_bind_tunnels(address);
            server.listen().await?;
        }
        ["local", port, server, remote] => {
            let port = port.parse()?;
            let client = Client::new("127.0.0.1", port, server, remote.parse()?, None).await?;
            client.listen().await?;
        }
        _ => return Err("bore server ADDRESS, or bore local PORT SERVER REMOTE_PORT".into()),
    }
    Ok(())
}
