//! The package is complete, and builds with the promised compiler.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Returns the output of a read-only cargo command.
fn cargo(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    output.stdout
}

/// Returns the compiler's name of this system.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let host = printed.lines().find_map(|line| line.strip_prefix("host: "));
    host.unwrap().to_owned()
}

/// `1.85` and `1.85.0` are the same.
fn version(text: &str) -> [u32; 3] {
    let mut parts = text.split('.').map(|part| part.parse().unwrap());
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

#[test]
fn no_dependency_needs_a_newer_compiler() {
    let promised = version(env!("CARGO_PKG_RUST_VERSION"));
    // Only this system's crates: the others may not be downloaded.
    let metadata = cargo(&["metadata", "--format-version", "1", "--filter-platform", &host()]);
    let metadata: Value = serde_json::from_slice(&metadata).unwrap();
    let tree = cargo(&["tree", "-e", "normal,build", "--prefix", "none", "-f", "{p}"]);
    let tree = String::from_utf8(tree).unwrap();
    let is_built = |package: &Value| {
        let (name, version) = (&package["name"], &package["version"]);
        let line = format!("{} v{}", name.as_str().unwrap(), version.as_str().unwrap());
        let is_it = |built: &str| built == line || built.starts_with(&format!("{line} "));
        tree.lines().any(is_it)
    };
    let packages = metadata["packages"].as_array().unwrap();
    let built: Vec<&Value> = packages.iter().filter(|package| is_built(package)).collect();
    assert!(built.len() > 10);
    for package in built {
        let needed = package["rust_version"].as_str().map_or([0; 3], version);
        assert!(needed <= promised, "{} needs {needed:?}", package["name"]);
    }
}

#[test]
fn the_package_is_complete_and_small() {
    const LARGEST: u64 = 100_000;
    let listed = cargo(&["package", "--list", "--allow-dirty"]);
    let listed = String::from_utf8(listed).unwrap();
    let files: Vec<&str> = listed.lines().collect();
    for needed in [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "src/lib.rs",
        "examples/ask/main.rs",
        "tests/it/main.rs",
        "tests/stand_in/mod.rs",
        "tests/tls/ca.pem",
        "benches/figures/main.rs",
    ] {
        assert!(files.contains(&needed), "{needed}");
    }
    for file in files {
        // Cargo generates some files.
        let Ok(metadata) = fs::metadata(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)) else {
            continue;
        };
        assert!(metadata.len() <= LARGEST, "{file}: {} bytes", metadata.len());
    }
}
