//! rathole without its log.

use clap::Parser;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (_stop, stopped) = tokio::sync::broadcast::channel(1);
    Ok(rathole::run(rathole::Cli::parse(), stopped).await?)
}
