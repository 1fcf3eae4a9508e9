//! `tiermesh linkage` as its user runs it: a population of invented persons, judged, explained, and a model learned from it.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn tiermesh(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tiermesh-under-test")).args(arguments).output().unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = tiermesh(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn column<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let mut rows = text.lines().map(|row| row.split(',').collect::<Vec<_>>());
    let place = rows.next().unwrap().iter().position(|column| *column == name).unwrap();
    rows.map(|row| row[place]).collect()
}

/// F1 over pairs, counted by enumerating them.
fn f1(truth: &[&str], clusters: &[&str]) -> f64 {
    let pairs = |labels: &[&str]| {
        let mut by_label: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, label) in labels.iter().enumerate() {
            by_label.entry((*label).to_owned()).or_default().push(place);
        }
        let of = |places: &Vec<usize>| {
            let places = places.clone();
            (0..places.len())
                .flat_map(move |b| (0..b).map(|a| (a, b)).collect::<Vec<_>>())
                .map(move |(a, b)| (places[a], places[b]))
                .collect::<Vec<_>>()
        };
        by_label.values().flat_map(of).collect::<HashSet<_>>()
    };
    let (wanted, found) = (pairs(truth), pairs(clusters));
    2.0 * wanted.intersection(&found).count() as f64 / (wanted.len() + found.len()) as f64
}

fn population(folder: &Path, persons: &str, seed: &str) -> String {
    let out = folder.join(seed).to_str().unwrap().to_owned();
    assert!(tiermesh(&["synth", "--persons", persons, "--seed", seed, "--out", &out]).status.success());
    out
}

#[test]
fn a_population_is_linked_judged_and_explained() {
    let folder = tempfile::tempdir().unwrap();
    let persons = population(folder.path(), "3000", "71");
    let clusters = folder.path().join("clusters.csv");
    let figures = json(&[
        "linkage",
        "evaluate",
        &persons,
        "--json",
        "--answered",
        "--clusters",
        clusters.to_str().unwrap(),
    ]);
    let figure = |name: &str| figures[name].as_f64().unwrap_or_else(|| panic!("{name} of {figures}"));
    // The linker reaches .997 and more on large populations; a small one has few pairs to be wrong about.
    assert!(figure("f1") > 0.994 && figure("bcubed_f1") > 0.996, "{figures}");
    assert!(figure("answered_f1") >= figure("f1") && figure("reviews_per_1000") < 20.0, "{figures}");
    assert!(figure("false_links_between_different_valid_ids") < 0.5, "{figures}");

    let truth = std::fs::read_to_string(Path::new(&persons).join("truth.csv")).unwrap();
    let clusters = std::fs::read_to_string(clusters).unwrap();
    assert_eq!(column(&truth, "reg_id"), column(&clusters, "reg_id"));
    let recounted = f1(&column(&truth, "person_id"), &column(&clusters, "cluster_id"));
    assert!((recounted - figure("f1")).abs() < 1e-9, "{recounted} {figures}");

    let (ids, labels) = (column(&clusters, "reg_id"), column(&clusters, "cluster_id"));
    let b = (1..labels.len()).find(|place| labels[..*place].contains(&labels[*place])).unwrap();
    let a = labels.iter().position(|label| *label == labels[b]).unwrap();
    let explained = json(&["linkage", "explain", &persons, ids[a], ids[b], "--json"]);
    assert_eq!(explained["same_person"], true);
    let sum: f64 =
        explained["fields"].as_array().unwrap().iter().map(|field| field["weight"].as_f64().unwrap()).sum();
    let part = |name: &str| explained[name].as_f64().unwrap();
    assert!((part("expectation") + sum + part("others") - part("weight")).abs() < 1e-2, "{explained}");
}

#[test]
fn a_model_is_learned_and_tried_before_it_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let (learned_from, tried_on) =
        (population(folder.path(), "3000", "72"), population(folder.path(), "1000", "73"));
    let model = folder.path().join("model.json").to_str().unwrap().to_owned();
    assert!(
        tiermesh(&["linkage", "train", &learned_from, "--out", &model, "--name", "learned"]).status.success()
    );
    let figures = json(&["linkage", "evaluate", &tried_on, "--model", &model, "--json"]);
    assert_eq!(figures["model"], "learned");
    assert!(figures["f1"].as_f64().unwrap() > 0.99, "{figures}");
    let same = json(&["linkage", "dry-run", &tried_on, "--model", &model, "--instead-of", &model, "--json"]);
    assert_eq!(same["changed"], 0);

    // One that never links changes everybody who is not alone.
    let mut stern: Value = serde_json::from_str(&std::fs::read_to_string(&model).unwrap()).unwrap();
    for (threshold, value) in [("same_from", 0.999_99), ("sure_from", 0.999_995)] {
        stern[threshold] = value.into();
    }
    let stern_file = folder.path().join("stern.json").to_str().unwrap().to_owned();
    std::fs::write(&stern_file, stern.to_string()).unwrap();
    let changes =
        json(&["linkage", "dry-run", &tried_on, "--model", &stern_file, "--instead-of", &model, "--json"]);
    assert!(changes["changed"].as_u64().unwrap() > 0, "{changes}");

    stern["expected"][0] = (-1.0).into();
    std::fs::write(&stern_file, stern.to_string()).unwrap();
    let refused = tiermesh(&["linkage", "evaluate", &tried_on, "--model", &stern_file]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("expectations") && said.contains("not used"),
        "{said}"
    );
}
