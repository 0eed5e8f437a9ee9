//! Project chores, run as `cargo xtask <chore>`. No dependencies: it must build in a second on a bare toolchain.

mod bench;
mod counts;
mod data;
mod delivery;
mod mutants;
mod tidy;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "\
cargo xtask test [ARGS...]   build the binary, then every test of the workspace; ARGS go to `cargo test`. With TLS to Kafka
                             where OpenSSL's headers are, and in CI
cargo xtask data [DIR]       recorded event sets against their answers (DIR: tests/data unless given)
cargo xtask tidy             file lengths, machine paths, unfinished code, dependency direction
cargo xtask mutants [CASES [WORDS]]  breaks the matcher in one place after another (only those described by WORDS); the
                             random rules must notice each
cargo xtask bench [--quick]  every benchmark through the release binary, as a table; also into target/bench.md
cargo xtask bench --check    instructions inside the matcher against the record (--update writes it); needs valgrind
cargo xtask bench delivery [--quick] [--json] [--keys N] [PART...]  what delivery costs, on Kafka and embedded, as a table
                             (into target/delivery.md); needs Java 17 and Maven; PART: kafka, lag, ingest, pause, recovery, keys, json
cargo xtask kafka start|stop|kill|wipe [DIR]  one Apache Kafka node (DIR: target/kafka); needs Java 17 and Maven
cargo xtask ci               what CI runs";

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let chore = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let outcome = match chore.as_str() {
        "test" => test(&rest),
        "data" => data::compare(rest.first().map(Path::new)),
        "tidy" => tidy::check(&root()),
        "mutants" => {
            let cases = rest.first().and_then(|cases| cases.parse().ok()).unwrap_or(100_000);
            let words = rest.get(1..).unwrap_or_default().join(" ");
            target_folder().and_then(|target| mutants::check(&root(), &target, cases, &words))
        }
        "bench" => target_folder().and_then(|target| {
            let build = || build_binary(&["--release"]);
            match rest.split_first() {
                Some((what, rest)) if what == "delivery" => delivery::run(&root(), &target, rest, build),
                _ => bench::run(&root(), &target, &rest, build),
            }
        }),
        "kafka" => run(Command::new(root().join("xtask/kafka")).args(&rest)),
        "ci" => run(Command::new("bash").arg(".ci/run")),
        "" | "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(true)
        }
        other => Err(format!("no chore `{other}`\n{USAGE}")),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::from(2)
        }
    }
}

/// All tests of the workspace. Tests that start the binary find it built, its path in `TRIPLINE_BIN`.
fn test(args: &[String]) -> Result<bool, String> {
    let own = || args.iter().take_while(|arg| *arg != "--");
    let release = own().any(|arg| arg == "--release" || arg == "-r");
    // WHY: the test profile and the whole workspace, so that the tests use what was built here.
    let profile = if release { "release" } else { "test" };
    let tls: &[&str] = if has_tls() { &["--features", "service/tls"] } else { &[] };
    let binary = build_binary(&[&["--workspace", "--profile", profile], tls].concat())?;
    let mut tests = cargo();
    tests.arg("test");
    // `cargo test --workspace -p NAME` would test everything.
    let is_one = own().any(|arg| arg.starts_with("-p") || arg.starts_with("--package"));
    if !is_one {
        tests.arg("--workspace");
    }
    // A feature of a package that is not among those that are tested is an error.
    if !is_one || own().any(|arg| ["service", "-pservice", "--package=service"].contains(&arg.as_str())) {
        tests.args(tls);
    }
    run(tests.args(args).env("TRIPLINE_BIN", binary))
}

/// Whether the Kafka client can be built with TLS: OpenSSL's headers are here. CI installs them, so there it must.
fn has_tls() -> bool {
    let found = Command::new("pkg-config").args(["--exists", "openssl"]).status();
    let can = env::var_os("CI").is_some() || found.is_ok_and(|status| status.success());
    if !can {
        eprintln!("xtask: without TLS to Kafka, and its tests: that needs `libssl-dev` and `pkg-config`");
    }
    can
}

/// Builds the `tripline` binary and says where it is.
fn build_binary(options: &[&str]) -> Result<PathBuf, String> {
    if !run(cargo().args(["build", "--bin", "tripline"]).args(options))? {
        return Err("the binary does not build".to_owned());
    }
    let folder = if options.iter().any(|option| ["release", "--release"].contains(option)) {
        "release"
    } else {
        "debug"
    };
    Ok(target_folder()?.join(folder).join("tripline"))
}

/// The target folder: this very program stands in one of its profiles.
fn target_folder() -> Result<PathBuf, String> {
    let program = env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let folder = program.parent().and_then(Path::parent);
    folder.map(Path::to_path_buf).ok_or_else(|| "this program stands outside a target folder".to_owned())
}

fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // WHY: what cargo told this program of its own package would make build scripts that look at it run again.
    for (name, _) in env::vars_os() {
        let told = name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
        if told {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Runs a command from the workspace's root; true if it succeeded.
fn run(command: &mut Command) -> Result<bool, String> {
    let status = command.current_dir(root()).status();
    status.map(|status| status.success()).map_err(|error| format!("cannot start {command:?}: {error}"))
}

fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}
