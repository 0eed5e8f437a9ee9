//! The rules of the language document that are in the supported slice compile; the others are refused, not ignored.

use pattern_dsl::{Environment, types::Type};

use super::stream;

fn environment() -> Environment {
    use Type::{Bool, Decimal, Instant, Int, String as Text};
    let auth = stream(
        "auth",
        &[("card_id", Text), ("amount", Decimal), ("approved", Bool), ("merchant", Text), ("channel", Text)],
    );
    let streams = vec![
        auth,
        stream(
            "login",
            &[("user_id", Text), ("ip", Text), ("ok", Bool), ("device_id", Text), ("country", Text)],
        ),
        stream("password_reset", &[("user_id", Text)]),
        stream("payee_added", &[("owner_id", Text), ("payee_id", Text)]),
        stream("mfa_passed", &[("user_id", Text)]),
        stream("transfer", &[("owner_id", Text), ("payee_id", Text), ("amount", Decimal)]),
        stream("push", &[("user_id", Text), ("result", Text)]),
        stream("mfa_removed", &[("user_id", Text)]),
        stream("mfa_enrolled", &[("user_id", Text)]),
        stream("credit", &[("account_id", Text), ("amount", Decimal), ("account_age_days", Int)]),
        stream("debit", &[("account_id", Text), ("amount", Decimal), ("payee_id", Text)]),
        stream("deposit", &[("customer_id", Text), ("amount", Decimal), ("cash", Bool)]),
        stream("payment", &[("psp", Text), ("ok", Bool)]),
        stream("heartbeat", &[("device_id", Text)]),
        stream(
            "order_new",
            &[("trader", Text), ("symbol", Text), ("side", Text), ("qty", Int), ("order_id", Text)],
        ),
        stream("fill", &[("trader", Text), ("symbol", Text), ("side", Text)]),
        stream("order_cancel", &[("trader", Text), ("symbol", Text), ("order_id", Text), ("qty", Int)]),
        stream("temp", &[("machine_id", Text), ("celsius", Decimal)]),
        stream(
            "process",
            &[("entity_id", Text), ("parent_entity_id", Text), ("name", Text), ("at", Instant)],
        ),
    ];
    let lists = [
        "vip_cards",
        "load_testers",
        "hosting_ranges",
        "anonymisers",
        "exempt_cash_businesses",
        "decommissioned",
    ];
    Environment {
        streams,
        tables: lists.iter().map(|l| ((*l).to_owned(), None)).collect(),
        require_declared: false,
    }
}

/// Section 6, with what is not supported left out.
const RULES: &str = r##"
rule card_testing {  # 1
  title "Small probes, then a large purchase"
  owner "fraud-ops"   tags fraud, card
  by card_id
  match within 10m {
    at least 3 auth as probe where approved and amount < 5
    then auth as hit where approved and amount > 20 * avg(probe.amount)
  }
  unless card_id in @vip_cards
  severity if hit.amount >= 1000 then critical else high
  reason "{count(probe)} approvals under 5, then {hit.amount} at {hit.merchant}"
  emit { probes: count(probe), probe_total: sum(probe.amount), amount: hit.amount, merchant: hit.merchant }
  send topic "alerts.fraud", webhook "case-desk"
  cooldown 1h
  test "three probes and a hit" {
    given auth { card_id: "c1", approved: true, merchant: "m1" }
    at 0s, 40s, 80s auth { amount: 1.10 }   at 5m auth { amount: 900.00 }
    expect at 5m 1 alert { probes: 3, severity: high }
  }
  test "probes too far apart" {
    given auth { card_id: "c1", approved: true, merchant: "m1" }
    at 0s, 6m, 12m auth { amount: 1.10 }   at 13m auth { amount: 900.00 }
    expect nothing
  }
}
rule account_takeover {  # 2
  title "Reset, new device, new payee, money out, no step-up"
  by user (password_reset.user_id, login.user_id, payee_added.owner_id, mfa_passed.user_id, transfer.owner_id)
  match within 24h {
    password_reset as reset
    then within 2h login as entry
    then payee_added as payee
    then no mfa_passed
    then within 1h transfer as out where payee_id == payee.payee_id and amount >= 500
  }
  score 60 + (if out.amount > 5000 then 30 else 0) + (if entry.ip in @anonymisers then 10 else 0)
  emit { payee: payee.payee_id, amount: out.amount, device: entry.device_id }
  cooldown 24h
}
rule declines_then_approval {  # 4
  by card_id
  from auth where channel == "ecom"
  match within 15m {
    at least 3 consecutive auth as bad where not approved
    then immediately auth as good where approved and amount > max(bad.amount)
  }
}
rule spend_spike {  # 6
  by card_id
  match { auth as a where count(auth over 30d before a) >= 10 and amount > 8 * avg(auth.amount over 30d before a) }
  score min(100, 10 * a.amount / avg(auth.amount over 30d before a))
  cooldown 1h
}
rule credential_stuffing {  # 7
  by ip
  match { login as f where not ok and distinct(login.user_id over 5m where not ok) reaches 20 }
  unless ip in @load_testers
  severity if ip in @hosting_ranges then high else medium
  cooldown 30m
}
rule mfa_fatigue {  # 8
  by user_id
  match within 10m {
    at least 5 push as denied where result == "deny"
    then push as yes where result == "approve"
  }
  severity critical
}
rule mfa_not_restored {  # 9
  by user_id
  match { mfa_removed as off then no mfa_enrolled for 12h }
}
rule pass_through_account {  # 12
  by account_id
  match within 2h {
    credit as paid_in where amount >= 1000 and account_age_days < 90
    then at least 1 debit as out
  }
  having sum(out.amount) >= 0.8 * paid_in.amount
  emit { moved_out: sum(out.amount), payees: distinct(out.payee_id) }
}
rule structuring {  # 13
  by customer_id
  match {
    deposit as d where cash and amount < 10000 and sum(deposit.amount over 48h where cash) > 25000
      and count(deposit over 48h where cash and amount > 7000 and amount < 10000) reaches 3
  }
  unless customer_id in @exempt_cash_businesses
}
rule psp_outage {  # 15
  by psp
  match {
    payment as p where count(payment over 5m) >= 50 and ratio(count(payment over 5m where not ok), count(payment over 5m)) reaches 0.30
  }
  cooldown 15m
}
rule heartbeat_lost {  # 17
  by device_id
  match { heartbeat as last_seen then no heartbeat for 5m }
  unless device_id in @decommissioned
}
rule spoofing_bids {  # 18, its template written out
  by trader, symbol
  match within 60s {
    at least 1 order_new as big where side == "buy" and qty > 10 * median(order_new.qty over 1d before big)
    then fill as f where side != "buy"
    then within 10s at least 1 order_cancel as pull where order_id in collect(big.order_id)
  }
  having sum(pull.qty) >= 0.9 * sum(big.qty)
  emit { faked: sum(big.qty), first_pull_after: first(pull.ts) - f.ts }
}
rule overheating {
  by machine_id
  match { temp as t where min(temp.celsius over 15m) reaches 80 and count(temp over 15m) >= 10 }
}
rule bearing_hot {
  by machine_id
  match within 30m { at least 5 consecutive temp as t where rising(celsius) and celsius > 70 and count(t) < 9 }
  emit { peak: max(t.celsius) }
}
rule shell_from_browser {
  by proc (parent.entity_id, child.parent_entity_id)
  match within 1m { process as parent where name matches r"(chrome|firefox)(\.exe)?$" then process as child where name in ["sh", "cmd.exe"] }
}
"##;

#[test]
fn the_documents_rules_compile() {
    let module = super::good(RULES, &environment());
    assert_eq!(module.rules.len(), 15);
    let rule = |name: &str| module.rules.iter().find(|r| r.name == name).unwrap();
    let proc = rule("shell_from_browser");
    assert_eq!(proc.streams.first().unwrap().keys, None);
    assert_eq!(proc.steps.iter().map(|s| s.keys.clone()).collect::<Vec<_>>(), [vec![0], vec![1]]);
    assert_eq!(rule("psp_outage").windows.len(), 2);
    assert_eq!(rule("spend_spike").windows.len(), 2);
    assert_eq!(rule("account_takeover").units.last().unwrap().gap.len(), 1);
    let trailing = rule("mfa_not_restored").trailing.first().unwrap();
    assert_eq!(trailing.duration, Some(pattern_dsl::ir::Bound::Fixed(12 * 3_600_000_000)));
    assert_eq!(rule("card_testing").text.lines().next(), Some("rule card_testing {  # 1"));
    assert!(rule("card_testing").text.ends_with('}'));
    assert_eq!(pattern_dsl::stream_names(&super::source(RULES)).len(), 19);
}
