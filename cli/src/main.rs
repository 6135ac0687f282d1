//! The Lariat command line: clusters behind a Lariat server, from a terminal.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what a command line is for"
)]

mod args;
mod clusters;
mod device_login;
mod direct;
mod kubeconfig;
mod kubeconfig_file;
mod kubectl;
mod login;
mod output;
mod private_file;
mod profiles;
mod recordings;
mod server;
mod status;
mod token;
mod trust;
mod tunnel;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Args, Command};
use profiles::Profiles;
use server::Server;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Command::Completion { shell } = args.command {
        let name = "lariat";
        clap_complete::generate(shell, &mut Args::command(), name, &mut std::io::stdout());
        return ExitCode::SUCCESS;
    }
    match run(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lariat: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        anyhow::bail!("another crypto provider is installed");
    }
    let mut profiles = Profiles::load()?;
    let output = args.output;
    if let Command::Login(login) = args.command {
        login::login(&mut profiles, login).await?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Token(token) = &args.command {
        token::run(&mut profiles, token, args.server.as_deref()).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let profile = profiles.choose(args.server.as_deref())?;
    let server = Server::connect(&profile)?;
    match args.command {
        Command::Login(_) | Command::Token(_) | Command::Completion { .. } => {}
        Command::Logout => login::logout(&mut profiles, &server).await?,
        Command::Passwd(passwd) => login::change_password(&server, &passwd).await?,
        Command::Cluster(command) => clusters::run(&server, command, output).await?,
        Command::Kubeconfig(kubeconfig) => kubeconfig::run(&server, kubeconfig).await?,
        Command::Kubectl { cluster, args } => {
            return kubectl::run(&server, &cluster, &args).await;
        }
        Command::Recordings(command) => recordings::run(&server, command, output).await?,
        Command::Tunnel(command) => tunnel::run(&server, command, output).await?,
        Command::Status => status::run(&server, output).await?,
    }
    Ok(ExitCode::SUCCESS)
}
