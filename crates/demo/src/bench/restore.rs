//! Lost disks: a county gets its records back from its prefecture, a province from its prefectures.

use std::path::PathBuf;
use std::time::Instant;

use model::NodePath;
use serde::Serialize;
use tokio::task::JoinSet;

use super::{Common, Patients, hospitals, register_all, tree, until};
use crate::show::DemoError;
use crate::synth::Tree;
use crate::tree::LocalTree;

#[derive(Debug, Clone, clap::Args)]
pub struct RestoreBench {
    #[command(flatten)]
    pub(super) common: Common,
    /// Registrations that the county holds when its disk is lost, and that the province's prefectures hold together.
    #[arg(long, default_value_t = 100_000)]
    records: u64,
    /// Prefectures that refill the province.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=16))]
    children: u64,
}

/// Figures of two lost disks.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RestoreFigures {
    pub records: u64,
    /// From the county's start with an empty disk until it has acknowledged a registration again.
    pub county_s: f64,
    pub county_records_per_s: f64,
    /// Registrations that the county then holds, the new one left out.
    pub county_holds: u64,
    pub children: u64,
    /// From the province's start with an empty disk until it listens and answers.
    pub province_answers_s: f64,
    /// Until it holds everything again.
    pub province_s: f64,
    pub province_records_per_s: f64,
    /// How long after the first child's records were complete the last one's were.
    pub unfairness_s: f64,
}

pub(super) async fn run(args: &RestoreBench, executable: PathBuf) -> Result<RestoreFigures, DemoError> {
    let mut figures = RestoreFigures { records: args.records, children: args.children, ..Default::default() };
    county(args, executable.clone(), &mut figures).await?;
    province(args, executable, &mut figures).await?;
    Ok(figures)
}

async fn county(
    args: &RestoreBench,
    executable: PathBuf,
    figures: &mut RestoreFigures,
) -> Result<(), DemoError> {
    let Common { callers, connections, seed, .. } = args.common;
    let paths = ["530000", "530000/530100", "530000/530100/530102"];
    let (mut tree, _folder) = tree(&args.common, executable, String::new(), &paths)?;
    tree.start_all(|_| ()).await?;
    let county = tree.paths()[2].clone();
    until(|| async { Ok(tree.operator(&county).await?.status().await?.writing) }).await?;
    eprintln!("loading {} registrations at a county", args.records);
    let clients = hospitals(&tree, &county, connections).await?;
    let patients = Patients::new(county.region(), seed)?;
    register_all(callers, &clients, patients.draw(args.records)).await?;
    until(|| async {
        let link = tree.operator(&county).await?.status().await?.parent.unwrap_or_default();
        Ok(link.position == link.head)
    })
    .await?;
    eprintln!("its disk is lost");
    lose(&mut tree, &county).await?;
    let since = Instant::now();
    tree.start(&county).await?;
    until(|| async { Ok(tree.operator(&county).await?.status().await?.writing) }).await?;
    let clients = hospitals(&tree, &county, 1).await?;
    register_all(1, &clients, patients.draw(1)).await?;
    figures.county_s = since.elapsed().as_secs_f64();
    figures.county_records_per_s = args.records as f64 / figures.county_s;
    figures.county_holds = held(&tree, &county).await?.saturating_sub(1);
    tree.stop_all().await?;
    Ok(())
}

async fn province(
    args: &RestoreBench,
    executable: PathBuf,
    figures: &mut RestoreFigures,
) -> Result<(), DemoError> {
    let Common { callers, seed, .. } = args.common;
    let regions = Tree::yunnan();
    let nodes = regions.nodes(&regions.select(129));
    let few = |path: &&NodePath| path.depth() == 1;
    let prefectures: Vec<String> =
        nodes.iter().filter(few).take(args.children as usize).map(ToString::to_string).collect();
    let mut paths = vec!["530000"];
    paths.extend(prefectures.iter().map(String::as_str));
    let (mut tree, _folder) = tree(&args.common, executable, String::new(), &paths)?;
    tree.start_all(|_| ()).await?;
    let (root, children) = (tree.paths()[0].clone(), tree.paths()[1..].to_vec());
    let each = args.records / args.children;
    eprintln!("loading {each} registrations at each of {} prefectures", children.len());
    let patients =
        Patients::new("530102".parse().map_err(|_| DemoError::NotShown("no county".into()))?, seed)?;
    for child in &children {
        until(|| async { Ok(tree.operator(child).await?.status().await?.writing) }).await?;
        let clients = hospitals(&tree, child, 1).await?;
        register_all(callers / 2, &clients, patients.draw(each)).await?;
    }
    until(|| async { Ok(held(&tree, &root).await? >= each * args.children) }).await?;
    eprintln!("the province's disk is lost");
    lose(&mut tree, &root).await?;
    let since = Instant::now();
    tree.start(&root).await?;
    tree.operator(&root).await?.status().await?;
    figures.province_answers_s = since.elapsed().as_secs_f64();
    let (mut first, mut last) = (None, 0.0);
    let mut waiting = JoinSet::new();
    for child in children {
        let operator = tree.operator(&child).await?;
        waiting.spawn(async move {
            until(|| async {
                let link = operator.status().await?.parent.unwrap_or_default();
                Ok(link.connected && link.position == link.head)
            })
            .await
            .map(|()| since.elapsed().as_secs_f64())
        });
    }
    while let Some(ended) = waiting.join_next().await {
        last = ended.map_err(|error| DemoError::NotShown(error.to_string()))??;
        first.get_or_insert(last);
    }
    until(|| async { Ok(held(&tree, &root).await? >= each * args.children) }).await?;
    figures.province_s = since.elapsed().as_secs_f64();
    figures.province_records_per_s = (each * args.children) as f64 / figures.province_s;
    figures.unfairness_s = last - first.unwrap_or(last);
    tree.stop_all().await?;
    Ok(())
}

/// Kills a node and removes everything that it stored.
async fn lose(tree: &mut LocalTree, path: &NodePath) -> Result<(), DemoError> {
    tree.kill(path).await?;
    Ok(std::fs::remove_dir_all(tree.node_dir(path).join("data"))?)
}

async fn held(tree: &LocalTree, path: &NodePath) -> Result<u64, DemoError> {
    Ok(tree.operator(path).await?.status().await?.store.unwrap_or_default().registrations)
}
