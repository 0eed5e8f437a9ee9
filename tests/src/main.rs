//! `compare [PROPERTY] [COUNT] [FIRST_SEED]`: random rules and events through the engine and the definition, or through one
//! of the engine's own properties (`all` = each of them). `compare show SEED` prints a case.

use tripline_tests::properties::{PROPERTIES, try_property};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut numbers = arguments.iter().filter_map(|argument| argument.parse::<u64>().ok());
    let (count, first) = (numbers.next().unwrap_or(100_000), numbers.next().unwrap_or(1));
    let named = arguments.first().filter(|argument| argument.parse::<u64>().is_err());
    let mut failed = 0;
    match named {
        Some(name) if name == "show" => print!("{}", tripline_tests::show(&oracle::random::case(count))),
        None => failed += run("compare", first, count, &tripline_tests::compare),
        Some(wanted) => {
            for (name, _) in PROPERTIES.iter().filter(|(name, _)| wanted == "all" || wanted == name) {
                failed += run(name, first, count, &|first, count| {
                    let (said, broken) = try_property(name, first, count);
                    (broken, said)
                });
            }
        }
    }
    std::process::exit(i32::from(failed > 0));
}

/// What to try on a range of seeds: reports of failures, and how many cases counted.
type Attempt<'a> = &'a (dyn Fn(u64, u64) -> (Vec<String>, u64) + Sync);

/// In two threads; the number of failures.
fn run(name: &str, first: u64, count: u64, attempt: Attempt<'_>) -> usize {
    let halves = [(first, count / 2), (first + count / 2, count - count / 2)];
    let results: Vec<_> = std::thread::scope(|scope| {
        let handles = halves.map(|(first, count)| {
            // The definition recurses once for each event; `overlap all` may give a reader of alerts thousands.
            let large = std::thread::Builder::new().stack_size(1 << 29);
            large.spawn_scoped(scope, move || attempt(first, count)).expect("a thread starts")
        });
        handles.into_iter().map(|handle| handle.join().expect("no panic")).collect()
    });
    let counted: u64 = results.iter().map(|(_, counted)| counted).sum();
    let failed: Vec<&String> = results.iter().flat_map(|(reports, _)| reports).collect();
    for report in &failed {
        eprintln!("{report}");
    }
    eprintln!("{name}: seeds {first}..{}: {counted} cases, {} differ", first + count, failed.len());
    failed.len()
}
