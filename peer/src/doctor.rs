//! `peer doctor`: what stands between this machine and a call, and what to change.

use meipo::link::Link;
use meipo::net::doctor::{Diagnosis, examine};
use meipo::net::identity::Identity;
use meipo::path::nat::{Behavior, Prospect};
use serde_json::{Value, json};

/// Examines the way to the rendezvous of `link` and prints what was found; whether a call is possible.
///
/// # Errors
/// When the rendezvous' name is not known or no socket can be had.
pub async fn run(link: &Link, asks_router: bool, is_json: bool) -> anyhow::Result<bool> {
    if !is_json {
        println!("examining the way to {}:{} …", link.host(), link.port());
    }
    let diagnosis = examine(link, Identity::generate()?, asks_router).await?;
    if is_json {
        println!("{}", to_json(&diagnosis));
    } else {
        print!("{}", report(&diagnosis));
    }
    Ok(prospect(&diagnosis) != Prospect::None)
}

/// Which way media would go, which is none where another server stands in the rendezvous' place.
fn prospect(diagnosis: &Diagnosis) -> Prospect {
    let is_proven = diagnosis.identity.is_ok() || diagnosis.tunnel.is_ok();
    if is_proven { diagnosis.prospect } else { Prospect::None }
}

/// What a person could change.
fn advice(diagnosis: &Diagnosis) -> Vec<&'static str> {
    let is_stranger = diagnosis.udp && prospect(diagnosis) == Prospect::None;
    if is_stranger { vec![STRANGER] } else { diagnosis.advice.clone() }
}

const STRANGER: &str = "this is not the rendezvous that the link names: ask for a new link, or for the right address";

fn to_json(diagnosis: &Diagnosis) -> Value {
    json!({
        "event": "diagnosis",
        "rendezvous": diagnosis.rendezvous.to_string(),
        "identity": diagnosis.identity.is_ok(),
        "identity_error": diagnosis.identity.as_ref().err(),
        "udp": diagnosis.udp,
        "tunnel": diagnosis.tunnel.is_ok(),
        "tunnel_error": diagnosis.tunnel.as_ref().err(),
        "observed": diagnosis.observed.map(|address| address.to_string()),
        "nat": diagnosis.is_translated,
        "mapping": diagnosis.mapping.map(Behavior::as_str),
        "filtering": diagnosis.filtering.map(Behavior::as_str),
        "hairpinning": diagnosis.hairpinning,
        "port_mapping": diagnosis.router,
        "ipv6": diagnosis.has_ipv6,
        "media": prospect(diagnosis).as_str(),
        "advice": advice(diagnosis),
    })
}

/// The findings as lines for a person.
fn report(diagnosis: &Diagnosis) -> String {
    let yes_no = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let outcome = |result: &Result<(), String>, good: &str| match result {
        Ok(()) => good.to_owned(),
        Err(reason) => format!("NO: {reason}"),
    };
    let behavior = |behavior: Option<Behavior>| behavior.map_or("unknown", Behavior::as_str).to_owned();
    let observed = diagnosis.observed.map_or("nowhere".to_owned(), |address| address.to_string());
    let nat = match diagnosis.is_translated {
        None => "unknown",
        Some(true) => "yes",
        Some(false) => "none: the rendezvous sees this machine's own address",
    };
    let router = match diagnosis.router.as_slice() {
        [] => "nothing".to_owned(),
        offers => offers.join(", "),
    };
    let rows = [
        ("rendezvous", diagnosis.rendezvous.to_string()),
        ("its identity", outcome(&diagnosis.identity, "proven, as the link says")),
        ("UDP passes", yes_no(diagnosis.udp)),
        ("TCP tunnel", outcome(&diagnosis.tunnel, "opens")),
        ("seen from", observed),
        ("NAT", nat.to_owned()),
        ("mapping", behavior(diagnosis.mapping)),
        ("filtering", behavior(diagnosis.filtering)),
        ("hairpinning", diagnosis.hairpinning.map_or("unknown".to_owned(), yes_no)),
        ("router opens ports by", router),
        ("IPv6", yes_no(diagnosis.has_ipv6)),
        ("media would go", explain(prospect(diagnosis)).to_owned()),
    ];
    let lines = rows.iter().map(|(name, value)| format!("  {name:<22} {value}\n"));
    let advice = advice(diagnosis).into_iter().map(|line| format!("→ {line}\n"));
    lines.chain(advice).collect()
}

fn explain(prospect: Prospect) -> &'static str {
    match prospect {
        Prospect::Direct => "directly to nearly everybody",
        Prospect::DirectToSome => "directly to some, through the relay to those whose NAT is strict too",
        Prospect::Relayed => "through the relay",
        Prospect::Tunnelled => "through the relay, over TCP, because UDP is blocked",
        Prospect::None => "nowhere",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnosis() -> Diagnosis {
        Diagnosis {
            rendezvous: "198.51.100.1:1935".parse().unwrap(),
            identity: Ok(()),
            udp: true,
            tunnel: Err("connection refused".to_owned()),
            observed: "203.0.113.7:4000".parse().ok(),
            is_translated: Some(true),
            mapping: Some(Behavior::EndpointIndependent),
            filtering: Some(Behavior::AddressAndPortDependent),
            hairpinning: Some(false),
            router: vec!["PCP"],
            has_ipv6: false,
            prospect: Prospect::Direct,
            advice: vec!["open TCP"],
        }
    }

    #[test]
    fn a_person_reads_the_terms_of_rfc_4787_and_what_to_do() {
        let report = report(&diagnosis());
        assert!(report.contains("mapping                endpoint-independent"), "{report}");
        assert!(report.contains("NO: connection refused"), "{report}");
        assert!(report.ends_with("→ open TCP\n"), "{report}");
    }

    #[test]
    fn a_stranger_in_the_rendezvous_place_is_no_way() {
        let stranger = Diagnosis { identity: Err("another identity".to_owned()), ..diagnosis() };
        assert_eq!(to_json(&stranger)["media"], "none");
        assert!(report(&stranger).ends_with(
            "→ this is not the rendezvous that the link names: ask for a new link, or for the right address\n"
        ));
    }

    #[test]
    fn a_program_reads_one_object() {
        let value = to_json(&diagnosis());
        assert_eq!(value["mapping"], "endpoint-independent");
        assert_eq!(value["filtering"], "address-and-port-dependent");
        assert_eq!(value["media"], "direct");
        assert_eq!(value["tunnel"], false);
    }
}
