//! Partitions that fall silent and wake on Kafka: time moves by the clock where nothing comes, and a replay sees it move at the
//! same places.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use super::broker::{Node, unique};
use super::crash::check_determinism;
use super::kafka::{setting, start};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What nobody answered within two seconds.
const RULES: &str = "stream auth { topic \"@.auth\" time ts late 1s id id idle 1s fields { user: string, ok: bool } }\n\
    rule unanswered { by user match { auth as asked where not ok then no auth for 2s where ok } reason \"{user}\" }\n";

/// An event of this moment.
fn now(user: &str, ok: bool) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    format!("{{\"ts\":{now},\"id\":\"{user}-{ok}\",\"user\":\"{user}\",\"ok\":{ok}}}")
}

/// One partition is never written to at first, then both are silent, one wakes, the other does: each time what was not answered is
/// told, once, and nothing of what was. The service is killed while all is silent, and between.
#[test]
fn partitions_that_fall_silent_and_wake() {
    let Some(node) = Node::shared() else { return };
    let test = unique("silence");
    let topic = |name: &str| format!("{test}.{name}");
    node.create(&[(&topic("auth"), 2)]);
    let folder = setting(node, &test, RULES);
    let writer = node.producer();
    let ask = |partition: i32, round: usize| {
        let [left, answered] = ["left", "answered"].map(|name| format!("{name}-{partition}-{round}"));
        writer.send(&topic("auth"), partition, &answered, &now(&answered, false));
        writer.send(&topic("auth"), partition, &left, &now(&left, false));
        std::thread::sleep(Duration::from_millis(20));
        writer.send(&topic("auth"), partition, &answered, &now(&answered, true));
        writer.flush();
        left
    };
    let mut service = start(&folder);
    let mut wanted = BTreeSet::new();
    for (round, partitions) in [&[0][..], &[0, 1], &[1], &[0]].into_iter().enumerate() {
        wanted.extend(partitions.iter().map(|partition| ask(*partition, round)));
        if round % 2 == 1 {
            // Before anything is due, so that the clock of another process has to move time.
            service.kill();
            service = start(&folder);
        }
        let alerts = node.await_records(&topic("alerts"), wanted.len());
        let told: BTreeSet<String> = alerts.iter().map(|alert| alert.key.clone()).collect();
        assert_eq!(told, wanted, "round {round}");
        if round == 2 {
            service.kill();
            service = start(&folder);
            check_determinism(&service);
        }
    }
    service.kill();
    let service = start(&folder);
    check_determinism(&service);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(node.committed(&topic("alerts")).len(), wanted.len(), "each once");
    assert!(node.committed(&topic("late")).is_empty() && node.committed(&topic("dead")).is_empty());
}
