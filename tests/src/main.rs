//! `compare [why] [COUNT] [FIRST_SEED]`: random rules and events through the engine and the definition; with `why`, what
//! `why` says beside what fired.

fn main() {
    let why = std::env::args().any(|argument| argument == "why");
    let look = if why { tripline_tests::why::check } else { tripline_tests::compare };
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse::<u64>().ok());
    let (count, first) = (arguments.next().unwrap_or(100_000), arguments.next().unwrap_or(1));
    let halves = [(first, count / 2), (first + count / 2, count - count / 2)];
    let results: Vec<_> = std::thread::scope(|scope| {
        let handles: Vec<_> =
            halves.map(|(first, count)| scope.spawn(move || look(first, count))).into_iter().collect();
        handles.into_iter().map(|handle| handle.join().expect("no panic")).collect()
    });
    let compiled: u64 = results.iter().map(|(_, compiled)| compiled).sum();
    let failed: Vec<&String> = results.iter().flat_map(|(reports, _)| reports).collect();
    for report in &failed {
        eprintln!("{report}");
    }
    eprintln!("seeds {first}..{}: {compiled} rules compiled, {} differ", first + count, failed.len());
    std::process::exit(i32::from(!failed.is_empty()));
}
