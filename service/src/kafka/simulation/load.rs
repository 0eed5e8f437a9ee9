//! What a run has to do: rules, events, and the producers that send them.

use super::broker::Partition;
use super::network::Network;
use super::world::{At, Dice, EPOCH, ms, secs};
use crate::kafka::record::Outgoing;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const TOPICS: [&str; 2] = ["auth", "pay"];

const STREAMS: &str = "\
stream auth { key user time ts late 2s idle 4s id id fields { user: string, ok: bool, act: string } }
stream pay { key user time ts late 1s idle 3s id id fields { user: string, amount: int } }
";

/// Rules of which each is changed by a number: one that waits for a second stream, two that wait for time to pass, one that
/// looks back, one without state.
fn rules(number: u64) -> String {
    let (some, more) = (10 + number * 20, 5 + number);
    format!(
        "rule guess {{ by user match within {some}s {{ auth as failed where not ok then pay as hit where amount > 20 }} reason \"{{user}}\" }}
rule left_open {{ by user match {{ auth as opened where act == \"open\" then no auth for {more}s where act == \"close\" }} reason \"{{user}}\" }}
rule unpaid {{ by user match {{ auth as begun where act == \"open\" then no pay for 4s }} reason \"{{user}}\" }}
rule burst {{ by user match {{ auth as hit where count(auth over {some}s) reaches 3 }} cooldown {more}s reason \"{{user}}\" }}
rule large {{ by user match {{ pay as hit where amount > {} }} reason \"{{user}}\" }}
",
        80 - number
    )
}

/// The text of a rule that is put over HTTP.
pub(super) fn rule_text(id: &str, number: u64) -> String {
    format!(
        "rule {id} {{ by user match within {}s {{ auth as first where ok then pay as second where amount > {} }} reason \"{{user}}\" }}",
        10 + number,
        number
    )
}

/// Folders of rules, one for each variant.
pub(super) fn folders(within: &Path) -> Vec<PathBuf> {
    let folder = |number: u64| {
        let folder = within.join(format!("rules{number}"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("all.cep"), format!("{STREAMS}{}", rules(number))).unwrap();
        folder
    };
    (0..3).map(folder).collect()
}

/// An event that is on its way.
struct Sent {
    after: At,
    partition: Partition,
    line: String,
    /// Of a transaction of its producer that comes to nothing.
    is_aborted: bool,
}

fn event(dice: &mut Dice, partitions: usize, number: u64, after: At) -> Sent {
    let (stream, user) = (dice.between(0, 2) as usize, dice.between(0, 5));
    let late = match dice.chance(400) {
        true => dice.between(secs(3), secs(15)),
        false => dice.between(0, ms(900)),
    };
    let ts = (EPOCH + after as i64 - late as i64) / 1_000;
    let rest = match stream {
        0 => {
            let act = *dice.pick(&["open", "close", "use"]);
            format!("\"ok\":{},\"act\":\"{act}\"", dice.chance(5_000))
        }
        _ => format!("\"amount\":{}", dice.between(0, 100)),
    };
    let line = match dice.chance(200) {
        true => "no event".to_owned(),
        false => format!("{{\"ts\":{ts},\"id\":\"e{number}\",\"user\":\"u{user}\",{rest}}}"),
    };
    let partition = (TOPICS[stream].to_owned(), user as usize % partitions);
    Sent { after, partition, line, is_aborted: dice.chance(300) }
}

/// Events over a time, some of them sent again by their producer. How many there are.
pub(super) fn send(net: &Arc<Network>, dice: &mut Dice, count: u64, long: At) -> u64 {
    let partitions = net.broker().logs.get(TOPICS[0]).map_or(1, Vec::len);
    let mut all = Vec::new();
    for number in 0..count {
        let after = dice.between(ms(100), long);
        let sent = event(dice, partitions, number, after);
        if dice.chance(500) {
            let after = after + dice.between(1, secs(3));
            all.push(Sent {
                after,
                partition: sent.partition.clone(),
                line: sent.line.clone(),
                is_aborted: false,
            });
        }
        all.push(sent);
    }
    let total = all.len() as u64;
    for Sent { after, partition, line, is_aborted } in all {
        let net = net.clone();
        let world = net.world.clone();
        world.later(after, move |_| {
            let record = Outgoing { key: b"k".to_vec(), value: line.into_bytes(), ..Outgoing::default() };
            let arrived = net.clock_ms();
            net.broker().put(&partition, record, arrived, is_aborted);
        });
    }
    total
}
