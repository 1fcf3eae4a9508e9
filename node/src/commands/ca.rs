//! `tiermesh ca`: make the root of a mesh, issue certificates to what stands directly under a node, list what was issued.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use identity::authority::Term;
use identity::ca::{self, CLIENT_LIFE, Issued, Lives};
use identity::name::Role;
use model::institution_code::InstitutionCode;
use model::{Clock, NodePath, TrustDomain};

use crate::commands::{FAILED, fail, print_json};
use crate::seams::SystemClock;

/// Certificates: make the mesh's root, issue, list.
#[derive(Debug, clap::Subcommand)]
pub enum Ca {
    /// Makes the root authority of a new mesh, to be kept offline once the province node has its certificates.
    Init {
        /// Name of the mesh, for example yunnan.tiermesh.example: a-z, 0-9, '.' and '-'.
        #[arg(long)]
        trust_domain: TrustDomain,
        /// Folder to make.
        #[arg(long)]
        out: PathBuf,
        #[arg(long)]
        json: bool,
    },
    /// Issues certificates.
    #[command(subcommand)]
    Issue(Issue),
    /// Lists what an authority issued, ending next first.
    List {
        /// Folder of the authority: the root's, or a node's identity.
        #[arg(long)]
        authority: PathBuf,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Subcommand)]
pub enum Issue {
    /// Everything the node directly below needs: TLS, record signing and its own authority.
    Node {
        #[arg(long)]
        authority: PathBuf,
        /// Where the node stands, for example 530000/532900.
        #[arg(long)]
        path: NodePath,
        /// DNS names and IP addresses it is reached by, for clients that look at them.
        #[arg(long)]
        advertise: Vec<String>,
        #[arg(long)]
        out: PathBuf,
        /// Life of its TLS certificate.
        #[arg(long, default_value_t = CLIENT_LIFE.as_secs() / 86_400, value_parser = clap::value_parser!(u64).range(1..=1826))]
        days: u64,
        #[arg(long)]
        json: bool,
    },
    /// An institution that files with the authority's node; WHO is its code (WS 218 or GB 32100).
    Institution(Client),
    /// A person who operates the authority's node.
    Operator(Client),
    Auditor(Client),
    Service(Client),
}

#[derive(Debug, clap::Args)]
pub struct Client {
    #[arg(long)]
    authority: PathBuf,
    /// Code of the institution, or account of [a-z0-9._-].
    who: String,
    #[arg(long)]
    out: PathBuf,
    #[arg(long, default_value_t = CLIENT_LIFE.as_secs() / 86_400, value_parser = clap::value_parser!(u64).range(1..=1826))]
    days: u64,
    #[arg(long)]
    json: bool,
}

pub fn run(command: &Ca) -> ExitCode {
    let now_ms = SystemClock.now_ms();
    if let Err(wrong) = check(command) {
        return fail(&wrong, cli::Exit::Usage as u8);
    }
    let result = match command {
        Ca::Init { trust_domain, out, json } => {
            ca::init_root(out, trust_domain, now_ms).map(|issued| show(&[issued], out, *json))
        }
        Ca::Issue(Issue::Node { authority, path, advertise, out, days, json }) => {
            let lives = Lives { node: days_of(*days), ..Lives::default() };
            ca::issue_node(authority, path, advertise, out, &lives, now_ms)
                .map(|issued| show(&issued, out, *json))
        }
        Ca::Issue(Issue::Institution(client)) => issue(client, Role::Institution, now_ms),
        Ca::Issue(Issue::Operator(client)) => issue(client, Role::Operator, now_ms),
        Ca::Issue(Issue::Auditor(client)) => issue(client, Role::Auditor, now_ms),
        Ca::Issue(Issue::Service(client)) => issue(client, Role::Service, now_ms),
        Ca::List { authority, json } => ca::list(authority).map(|listing| list(listing, *json, now_ms)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, FAILED),
    }
}

/// What would be found out too late: a code that no node accepts, a folder that holds no authority.
fn check(command: &Ca) -> Result<(), String> {
    match command {
        Ca::Issue(Issue::Institution(client)) => match InstitutionCode::parse(&client.who) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("the code of an institution cannot be used: {error}")),
        },
        Ca::List { authority, .. } if !authority.join(identity::files::AUTHORITY_CERTIFICATE).exists() => {
            Err(format!(
                "{} holds no authority: name the root's folder or a node's identity",
                authority.display()
            ))
        }
        _ => Ok(()),
    }
}

fn issue(client: &Client, role: Role, now_ms: u64) -> Result<(), identity::IdentityError> {
    let term = Term { now_ms, life: days_of(client.days) };
    let issued = ca::issue_client(&client.authority, role, &client.who, &client.out, term)?;
    show(&[issued], &client.out, client.json);
    Ok(())
}

fn days_of(days: u64) -> Duration {
    Duration::from_secs(days.saturating_mul(86_400))
}

fn show(issued: &[Issued], out: &std::path::Path, json: bool) {
    if json {
        print_json(&serde_json::json!({ "out": out, "issued": issued }));
        return;
    }
    for one in issued {
        println!("{:<9} {}", one.kind.as_str(), one.name);
    }
    println!(
        "written to {}; the .key files are secret and stay on the machine that uses them",
        out.display()
    );
}

fn list(mut listing: ca::Listing, json: bool, now_ms: u64) {
    listing.issued.sort_by_key(|one| one.not_after_ms);
    if json {
        print_json(
            &serde_json::json!({ "issued": listing.issued, "unreadable_lines": listing.unreadable_lines }),
        );
        return;
    }
    for one in &listing.issued {
        let days = (one.not_after_ms as i64 - now_ms as i64) / 86_400_000;
        let ends = if days < 0 { "ended".to_owned() } else { format!("{days} days") };
        println!("{ends:>10}  {:<9} {}  {}", one.kind.as_str(), one.name, one.serial);
    }
    if !listing.unreadable_lines.is_empty() {
        eprintln!("tiermesh: lines that cannot be read: {:?}", listing.unreadable_lines);
    }
}
